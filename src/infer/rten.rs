//! Sessions on rten, the built-in runtime without dependencies. Slower than ONNX Runtime by half or more.

use std::path::Path;
use std::sync::Arc;

use rten::{DataType, Dimension, Model, NodeId, RunOptions, ThreadPool, Value, ValueType, ValueView};
use rten_tensor::Layout as _;

use crate::vision::decode::Tensor;

use super::framing;
use super::session::{Element, Metadata, Port, Reader, Session, Signature};

/// One worker's handle to a shared model, with a single-threaded pool.
pub(super) struct Rten {
    model: Arc<Model>,
    input: NodeId,
    outputs: Vec<NodeId>,
    pool: Arc<ThreadPool>,
}

/// Opens a model file.
pub(super) fn open(model: &Path) -> Result<Arc<Model>, String> {
    if model.extension().is_some_and(|extension| extension == "onnx") {
        framing::check(model)?;
    }
    Model::load_file(model).map(Arc::new).map_err(|e| e.to_string())
}

/// Operators that rten computes wrongly: it pads their input with 128 instead of the zero point.
const WRONG: [&str; 1] = ["ConvInteger"];

/// The first operator in a model file that rten computes wrongly.
pub(super) fn wrong_operator(model: &Path) -> Option<&'static str> {
    let bytes = crate::text::bytes(model).ok()?;
    // A node's operator is its field 4: a length-prefixed string.
    let has = |operator: &str| {
        let field = [&[0x22, operator.len() as u8], operator.as_bytes()].concat();
        bytes.windows(field.len()).any(|window| window == field)
    };
    WRONG.into_iter().find(|operator| has(operator))
}

/// Reads the model's inputs, outputs and metadata. rten widens 16-bit floats to 32 bits at load time, including inputs
/// and outputs.
pub(super) fn signature(model: &Model) -> Signature {
    let ports = |ids: &[NodeId]| ids.iter().map(|id| port(model, *id)).collect();
    Signature {
        inputs: ports(model.input_ids()),
        outputs: ports(model.output_ids()),
        metadata: Metadata::read(|key| model.metadata().get(key).map(str::to_owned)),
    }
}

fn port(model: &Model, id: NodeId) -> Port {
    let info = model.node_info(id);
    let axis = |axis: &Dimension| match axis {
        Dimension::Fixed(n) => Some(*n),
        Dimension::Symbolic(_) => None,
    };
    let element = match info.as_ref().and_then(|i| i.dtype()) {
        // An operator's own output has no declared type; the first run checks it.
        None | Some(ValueType::Tensor(DataType::Float)) => Element::F32,
        Some(other) => Element::Other(other.to_string()),
    };
    Port {
        name: info.as_ref().and_then(|i| i.name()).unwrap_or_default().to_owned(),
        element,
        shape: info.and_then(|i| i.shape()).unwrap_or_default().iter().map(axis).collect(),
    }
}

impl Rten {
    /// `outputs` are indices in the model's own order.
    pub(super) fn new(model: Arc<Model>, outputs: &[usize]) -> Option<Self> {
        let input = *model.input_ids().first()?;
        let outputs = outputs.iter().map(|&i| model.output_ids().get(i).copied()).collect::<Option<_>>()?;
        Some(Self { model, input, outputs, pool: Arc::new(ThreadPool::with_num_threads(1)) })
    }
}

impl Session for Rten {
    fn run(&mut self, shape: [usize; 4], input: &[f32], read: Reader<'_>) -> Result<(), String> {
        let view = ValueView::from_shape(shape, input).map_err(|e| e.to_string())?;
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.pool));
        let inputs = vec![(self.input, view.into())];
        let outputs = self.model.run(inputs, &self.outputs, Some(options)).map_err(|e| e.to_string())?;
        let values: Vec<_> = outputs.into_iter().map(numbers).collect::<Result<_, _>>()?;
        let tensors: Vec<_> = values.iter().map(|(shape, values)| Tensor { shape, values }).collect();
        read(&tensors);
        Ok(())
    }
}

fn numbers(value: Value) -> Result<(Vec<usize>, Vec<f32>), String> {
    let shape = value.shape().to_vec();
    let kind = value.dtype();
    let tensor = value.into_tensor::<f32>().ok_or_else(|| format!("an output is {kind}, not floats"))?;
    Ok((shape, tensor.into_data()))
}
