//! Properties of a network that configuration and inference share: output layout and precision.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The layout of a network's outputs, which `vision::decode` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[N, 4 + classes, places]`: centre x, y, width, height in input pixels, then class scores; no objectness.
    /// YOLOv8, YOLO11 and other Ultralytics exports for detection without NMS.
    YoloV8,
    /// `[N, places, 5 + classes]`: raw grid offsets and log sizes, objectness, class scores; consecutive strides from 4
    /// to 128.
    YoloX,
}

impl Layout {
    /// All layouts, in the order in which they are tried.
    pub const ALL: [Self; 2] = [Self::YoloX, Self::YoloV8];

    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::YoloV8 => "yolov8",
            Self::YoloX => "yolox",
        }
    }
}

/// Numeric precision of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// 16-bit floating point.
    Fp16,
    /// 8-bit integers.
    Int8,
}

impl Precision {
    /// All precisions, the most exact first.
    pub const ALL: [Self; 3] = [Self::Fp32, Self::Fp16, Self::Int8];

    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        }
    }
}

impl JsonSchema for Layout {
    fn schema_name() -> Cow<'static, str> {
        "Layout".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

impl JsonSchema for Precision {
    fn schema_name() -> Cow<'static, str> {
        "Precision".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_are_read() {
        for layout in Layout::ALL {
            assert_eq!(serde_json::to_value(layout).ok(), Some(layout.as_str().into()));
        }
        for precision in Precision::ALL {
            assert_eq!(serde_json::to_value(precision).ok(), Some(precision.as_str().into()));
        }
    }
}
