//! The common interface of both runtimes: a signature, tensors in, tensors out.

use std::fmt;

use crate::vision::decode::Tensor;

/// Element type of an input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Element {
    /// 32-bit floats.
    F32,
    /// 16-bit floats; converted on input and output.
    F16,
    /// Unsupported; its name.
    Other(String),
}

/// An input or output; `None` in its shape is an open axis.
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

/// A model's declared inputs, outputs and metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// The known metadata entries.
    pub(super) metadata: Metadata,
}

impl Signature {
    /// Inputs and outputs in one line, for messages.
    pub(super) fn describe(&self) -> String {
        let list = |ports: &[Port]| ports.iter().map(Port::to_string).collect::<Vec<_>>().join("; ");
        format!("inputs: {}; outputs: {}", list(&self.inputs), list(&self.outputs))
    }
}

/// Metadata entries in Ultralytics' format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Class names, `{0: 'person', …}`.
    pub(super) names: Option<String>,
    /// Input size, `[640, 640]`.
    pub(super) imgsz: Option<String>,
    /// The network's task, `detect`, `segment` …
    pub(super) task: Option<String>,
}

impl Metadata {
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Self {
        Self { names: get("names"), imgsz: get("imgsz"), task: get("task") }
    }
}

/// Receives a run's outputs, borrowed from the runtime.
pub(super) type Reader<'a> = &'a mut dyn FnMut(&[Tensor<'_>]);

/// A network ready to run on one thread.
pub(super) trait Session: Send {
    /// Runs `input` of `shape` and passes the chosen outputs to `read`. Errors are the runtime's own messages.
    fn run(&mut self, shape: [usize; 4], input: &[f32], read: Reader<'_>) -> Result<(), String>;
}
