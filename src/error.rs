//! Errors: a code with a page (`dsengine explain E0203`), what happened, where, and what to do.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Every error code. Each has a page in `src/explain/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as printed, `E0101`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The code's page, Markdown.
            pub fn page(self) -> &'static str {
                match self { $(Self::$name => include_str!(concat!("explain/", $code, ".md")),)* }
            }
        }
    };
}

codes! {
    /// The configuration is invalid: syntax, unknown key, wrong type, out of range, dangling reference.
    Config = "E0101",
    /// A configured capability is not built yet, or cannot work on this machine.
    Unsupported = "E0102",
    /// A source's URI or settings cannot be used.
    Source = "E0201",
    /// A finite source failed: unreadable, stalled, without a frame.
    SourceBroken = "E0202",
    /// A part that the media pipeline needs is missing (GStreamer element, decoder).
    Pipeline = "E0203",
    /// A model file is missing or cannot be loaded.
    Model = "E0301",
    /// A model's outputs fit no known layout.
    ModelLayout = "E0302",
    /// A label file is missing or does not fit the model.
    Labels = "E0303",
    /// A script or component cannot be loaded.
    Plugin = "E0401",
    /// An alert handler cannot start.
    Handler = "E0501",
    /// No alert has this id.
    NoAlert = "E0502",
    /// The HTTP listener cannot start.
    Listen = "E0601",
    /// An HTTP request lacks permission: token, scope, source, host or origin.
    Access = "E0602",
    /// An HTTP request is invalid, names something that does not exist, or exceeds the capacity.
    Request = "E0603",
    /// A file cannot be read or written.
    Io = "E0701",
    /// A trace cannot be read.
    Trace = "E0702",
}

/// An error with its code, its cause and a hint. Secrets are redacted before it is built.
#[derive(Debug, Clone)]
pub struct Error {
    code: Code,
    message: String,
    hint: Option<String>,
    part: Option<String>,
}

impl Error {
    /// An error with what happened and where, in one sentence without a full stop.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, part: None }
    }

    /// Adds what the reader can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prefixes the message with the location: the file or the part in which it happened.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// Names the part of the configuration that it is about, by path: `sources[yard]`. A part of a part, `.config.x`,
    /// gets the path of the whole in front.
    #[must_use]
    pub fn about(mut self, part: impl Into<String>) -> Self {
        let inner = self.part.take().filter(|inner| inner.starts_with('.')).unwrap_or_default();
        let whole: String = part.into();
        self.part = Some(whole + &inner);
        self
    }

    /// The part of the configuration that it is about, by path.
    pub fn part(&self) -> Option<&str> {
        self.part.as_deref()
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, without code and hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The hint: what the reader can do.
    pub fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.code.as_str(), self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
