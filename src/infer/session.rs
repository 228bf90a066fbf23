//! What both runtimes look like from above: a signature, and numbers in, numbers out.

use std::fmt;

use crate::vision::decode::Tensor;

/// A number type of a network's input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; converted on the way in and out.
    F16,
    /// Anything else, by its name; cannot be used.
    Other(String),
}

/// An input or output: name, number type, and shape with `None` for an axis that is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<Option<usize>>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = match &self.element {
            Element::F32 => "f32",
            Element::F16 => "f16",
            Element::Other(name) => name,
        };
        let axes: Vec<_> = self.shape.iter().map(|a| a.map_or_else(|| "?".to_owned(), |n| n.to_string())).collect();
        write!(f, "{} {element} [{}]", self.name, axes.join(", "))
    }
}

/// What a model file says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// The metadata entries that are used, where the file has them.
    pub(super) metadata: Metadata,
}

impl Signature {
    /// Inputs and outputs in one line, for messages.
    pub(super) fn describe(&self) -> String {
        let list = |ports: &[Port]| ports.iter().map(Port::to_string).collect::<Vec<_>>().join("; ");
        format!("inputs: {}; outputs: {}", list(&self.inputs), list(&self.outputs))
    }
}

/// Metadata entries as Ultralytics writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Class names, `{0: 'person', …}`.
    pub(super) names: Option<String>,
    /// Input size, `[640, 640]`.
    pub(super) imgsz: Option<String>,
    /// What the network does, `detect`, `segment` …
    pub(super) task: Option<String>,
}

impl Metadata {
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        Self { names: get("names"), imgsz: get("imgsz"), task: get("task") }
    }
}

/// Receives a run's outputs while the runtime still owns them.
pub(super) type Reader<'a> = &'a mut dyn FnMut(&[Tensor<'_>]);

/// One network, ready to run on one thread.
pub(super) trait Session: Send {
    /// Runs `input` of `shape` and hands the chosen outputs to `read`. Errors are the runtime's own words.
    fn run(&mut self, shape: [usize; 4], input: &[f32], read: Reader<'_>) -> Result<(), String>;
}
