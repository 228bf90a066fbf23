//! Sessions on ONNX Runtime.

use std::path::Path;

use half::f16;
use half::slice::HalfFloatSliceExt;
use ort::environment::Environment;
use ort::session::{Session as OrtSession, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use crate::vision::decode::Tensor;

use super::session::{Element, Metadata, Port, Reader, Session, Signature};

/// A single-threaded ONNX Runtime session, run on the calling thread.
pub(super) struct Onnx {
    session: OrtSession,
    element: Element,
    /// Indices of the outputs to read.
    outputs: Vec<usize>,
    half_input: Vec<f16>,
}

/// Opens `model` for one thread. Spinning is off: a waiting thread must not take CPU from the decoders.
pub(super) fn open(environment: &Environment, model: &Path) -> Result<OrtSession, String> {
    OrtSession::builder(environment)
        .and_then(|b| Ok(b.with_intra_threads(1)?))
        .and_then(|b| Ok(b.with_inter_threads(1)?))
        .and_then(|b| Ok(b.with_intra_op_spinning(false)?))
        .and_then(|mut b| b.commit_from_file(model))
        .map_err(|e| e.to_string())
}

/// Reads the session's inputs, outputs and metadata.
pub(super) fn signature(session: &OrtSession) -> Signature {
    let metadata = match session.metadata() {
        Ok(metadata) => Metadata::read(|key| metadata.custom(key)),
        Err(_) => Metadata::default(),
    };
    Signature {
        inputs: session.inputs().iter().map(port).collect(),
        outputs: session.outputs().iter().map(port).collect(),
        metadata,
    }
}

fn port(outlet: &Outlet) -> Port {
    let (element, shape) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => {
            let element = match ty {
                TensorElementType::Float32 => Element::F32,
                TensorElementType::Float16 => Element::F16,
                other => Element::Other(other.to_string()),
            };
            (element, shape.iter().map(|&axis| usize::try_from(axis).ok()).collect())
        }
        other => (Element::Other(other.to_string()), vec![]),
    };
    Port { name: outlet.name().to_owned(), element, shape }
}

impl Onnx {
    pub(super) fn new(session: OrtSession, element: Element, outputs: Vec<usize>) -> Self {
        Self { session, element, outputs, half_input: vec![] }
    }
}

impl Session for Onnx {
    fn run(&mut self, shape: [usize; 4], input: &[f32], read: Reader<'_>) -> Result<(), String> {
        let value: SessionInputValue<'_> = if self.element == Element::F16 {
            self.half_input.resize(input.len(), f16::ZERO);
            self.half_input.convert_from_f32_slice(input);
            TensorRef::from_array_view((shape, self.half_input.as_slice())).map_err(|e| e.to_string())?.into()
        } else {
            TensorRef::from_array_view((shape, input)).map_err(|e| e.to_string())?.into()
        };
        let outputs = self.session.run([value]).map_err(|e| e.to_string())?;
        let values: Vec<_> = self
            .outputs
            .iter()
            .map(|&i| Numbers::of(&outputs[i]))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let tensors: Vec<_> = values.iter().map(Numbers::tensor).collect();
        read(&tensors);
        Ok(())
    }
}

/// An output's values: borrowed from the runtime if 32-bit, converted if 16-bit.
enum Numbers<'a> {
    Borrowed(Vec<usize>, &'a [f32]),
    Converted(Vec<usize>, Vec<f32>),
}

impl<'a> Numbers<'a> {
    fn of(value: &'a ort::value::DynValue) -> ort::Result<Self> {
        let axes = |shape: &[i64]| shape.iter().map(|&a| usize::try_from(a).unwrap_or(0)).collect();
        if let ValueType::Tensor { ty: TensorElementType::Float16, .. } = value.dtype() {
            let (shape, halves) = value.try_extract_tensor::<f16>()?;
            return Ok(Self::Converted(axes(shape), halves.to_f32_vec()));
        }
        let (shape, floats) = value.try_extract_tensor::<f32>()?;
        Ok(Self::Borrowed(axes(shape), floats))
    }

    fn tensor(&self) -> Tensor<'_> {
        match self {
            Self::Borrowed(shape, values) => Tensor { shape, values },
            Self::Converted(shape, values) => Tensor { shape, values },
        }
    }
}
