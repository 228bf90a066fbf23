//! The bounds of what strategies attach to detections.

use crate::types::{Attributes, Value};

/// Maximum attributes of a detection.
const ATTRIBUTES_MAX: usize = 16;
/// Maximum length of a name.
const NAME_BYTES_MAX: usize = 64;
/// Maximum length of a text.
const TEXT_BYTES_MAX: usize = 256;

/// Maximum names of a detection's attributes that one call changes, those that it takes away again included.
pub const ATTRIBUTE_CHANGES_MAX: usize = 32;
/// Maximum bytes of all attributes that one call sets.
pub const ATTRIBUTE_BYTES_MAX: usize = 256 << 10;
/// About what an attribute takes besides its texts.
const OVERHEAD_BYTES: usize = 128;

/// About what an attribute takes in memory.
pub fn attribute_bytes(name: &str, value: Option<&Value>) -> usize {
    let text = if let Some(Value::Text(text)) = value { text.len() } else { 0 };
    OVERHEAD_BYTES + name.len() + text
}

/// Checks the name and the value of an attribute.
///
/// # Errors
/// What is wrong with it.
pub fn check_attribute(name: &str, value: Option<&Value>) -> Result<(), String> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let shown = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        return Err(format!("an attribute's name has 1 to {NAME_BYTES_MAX} bytes, and '{shown}' has {}", name.len()));
    }
    match value {
        Some(Value::Number(number)) if !number.is_finite() => {
            Err(format!("the attribute '{name}' is {number}, which is no number to keep"))
        }
        Some(Value::Text(text)) if text.len() > TEXT_BYTES_MAX => {
            let bytes = text.len();
            Err(format!("the attribute '{name}' has {bytes} bytes of text, the limit is {TEXT_BYTES_MAX}"))
        }
        _ => Ok(()),
    }
}

/// Checks the number of a detection's attributes.
///
/// # Errors
/// When there are too many.
pub fn check_attributes(attributes: &Attributes) -> Result<(), String> {
    let count = attributes.len();
    if count > ATTRIBUTES_MAX {
        return Err(format!("a detection has at most {ATTRIBUTES_MAX} attributes, and this one would have {count}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_bounded_in_its_name_its_value_and_their_number() {
        let text = |bytes: usize| Value::Text("x".repeat(bytes));
        for (name, value, fits) in [
            ("a".repeat(64), text(256), true),
            ("a".repeat(65), text(1), false),
            (String::new(), text(1), false),
            ("a".into(), text(257), false),
            ("a".into(), Value::Number(f64::NAN), false),
            ("a".into(), Value::Number(-1.5), true),
            ("a".into(), Value::Boolean(false), true),
        ] {
            assert_eq!(check_attribute(&name, Some(&value)).is_ok(), fits, "{name} {value:?}");
        }
        let many = |count: usize| (0..count).map(|n| (n.to_string(), Value::Boolean(true))).collect();
        assert!(check_attributes(&many(16)).is_ok());
        let error = check_attributes(&many(17)).unwrap_err();
        assert_eq!(error, "a detection has at most 16 attributes, and this one would have 17");
    }
}
