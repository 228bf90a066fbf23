//! Writes ONNX files of networks that give the same numbers whatever they see.

use std::path::{Path, PathBuf};

/// A network with a 64 x 64 input whose output begins with given numbers and is zero else.
pub(super) struct Network {
    shape: [usize; 3],
    /// The first numbers, row by row of `width` each, in the output's last axes.
    first: Vec<f32>,
    width: usize,
    metadata: Vec<(String, String)>,
    quantised: bool,
}

/// One place's column.
pub(super) fn column(rows: usize, values: &[f32]) -> Vec<f32> {
    let mut column = values.to_vec();
    column.resize(rows, 0.0);
    column
}

impl Network {
    pub(super) fn new(shape: [usize; 3], first: Vec<f32>, width: usize) -> Self {
        Self { shape, first, width, metadata: Vec::new(), quantised: false }
    }

    pub(super) fn with(mut self, metadata: &[(&str, &str)]) -> Self {
        self.metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self
    }

    /// The same with a convolution of integers in it, whose outcome is not used for anything but a zero.
    pub(super) fn quantised(self) -> Self {
        Self { quantised: true, ..self }
    }

    pub(super) fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, self.model()).unwrap();
        path
    }

    fn model(&self) -> Vec<u8> {
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        bytes(&mut model, 7, &self.graph());
        let mut opset = Vec::new();
        bytes(&mut opset, 1, b"");
        number(&mut opset, 2, 13);
        bytes(&mut model, 8, &opset);
        for (key, value) in &self.metadata {
            let mut entry = Vec::new();
            bytes(&mut entry, 1, key.as_bytes());
            bytes(&mut entry, 2, value.as_bytes());
            bytes(&mut model, 14, &entry);
        }
        model
    }

    fn graph(&self) -> Vec<u8> {
        let mut graph = Vec::new();
        // max(picture) * 0 + what is given.
        let mut nodes = vec![node("GlobalMaxPool", &["images"], "peaks", None)];
        let mut picture = "peaks";
        if self.quantised {
            nodes.push(node("Cast", &["peaks"], "whole", Some(("to", 2))));
            nodes.push(node("ConvInteger", &["whole", "weights"], "sums", None));
            nodes.push(node("Cast", &["sums"], "back", Some(("to", 1))));
            picture = "back";
        }
        nodes.push(node("Mul", &[picture, "zero"], "nothing", None));
        nodes.push(node("Reshape", &["nothing", "flat"], "row", None));
        nodes.push(node("ReduceSum", &["row"], "none", None));
        nodes.push(node("Add", &["given", "none"], "output0", None));
        nodes.iter().for_each(|node| bytes(&mut graph, 1, node));
        bytes(&mut graph, 2, b"g");
        let floats = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let [_, rows, columns] = self.shape;
        let mut given = vec![0.0; rows * columns];
        for (at, value) in self.first.iter().enumerate() {
            given[at / self.width * columns + at % self.width] = *value;
        }
        bytes(&mut graph, 5, &tensor("given", &self.shape, 1, &floats(&given)));
        bytes(&mut graph, 5, &tensor("zero", &[1], 1, &floats(&[0.0])));
        bytes(&mut graph, 5, &tensor("flat", &[1], 7, &(-1_i64).to_le_bytes()));
        if self.quantised {
            bytes(&mut graph, 5, &tensor("weights", &[1, 3, 1, 1], 2, &[1, 1, 1]));
        }
        bytes(&mut graph, 11, &value("images", &[1, 3, 64, 64]));
        bytes(&mut graph, 12, &value("output0", &self.shape));
        graph
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

fn node(operator: &str, inputs: &[&str], output: &str, attribute: Option<(&str, u64)>) -> Vec<u8> {
    let mut node = Vec::new();
    inputs.iter().for_each(|input| bytes(&mut node, 1, input.as_bytes()));
    bytes(&mut node, 2, output.as_bytes());
    bytes(&mut node, 4, operator.as_bytes());
    if let Some((name, value)) = attribute {
        let mut attribute = Vec::new();
        bytes(&mut attribute, 1, name.as_bytes());
        number(&mut attribute, 3, value);
        number(&mut attribute, 20, 2);
        bytes(&mut node, 5, &attribute);
    }
    node
}

fn tensor(name: &str, shape: &[usize], kind: u64, raw: &[u8]) -> Vec<u8> {
    let mut tensor = Vec::new();
    shape.iter().for_each(|axis| number(&mut tensor, 1, *axis as u64));
    number(&mut tensor, 2, kind);
    bytes(&mut tensor, 8, name.as_bytes());
    bytes(&mut tensor, 9, raw);
    tensor
}

fn value(name: &str, shape: &[usize]) -> Vec<u8> {
    let mut axes = Vec::new();
    for axis in shape {
        let mut dimension = Vec::new();
        number(&mut dimension, 1, *axis as u64);
        bytes(&mut axes, 1, &dimension);
    }
    let mut kind = Vec::new();
    number(&mut kind, 1, 1);
    bytes(&mut kind, 2, &axes);
    let mut holder = Vec::new();
    bytes(&mut holder, 1, &kind);
    let mut value = Vec::new();
    bytes(&mut value, 1, name.as_bytes());
    bytes(&mut value, 2, &holder);
    value
}
