//! A chain of elements that the configuration writes out.

use gstreamer as gst;
use gstreamer::prelude::*;

/// A bin with the chain; the pad at its end is the bin's. The configuration has checked its elements.
///
/// # Errors
/// Why it cannot be built here: an element that is not installed, or a property that it does not have.
pub(super) fn source(chain: &str) -> Result<gst::Element, String> {
    // It gives the chain an end also where it has caps or a demuxer there.
    let chain = format!("{chain} ! identity");
    let flags = gst::ParseFlags::FATAL_ERRORS | gst::ParseFlags::NO_SINGLE_ELEMENT_BINS;
    let bin = gst::parse::bin_from_description_full(&chain, true, None, flags)
        .map_err(|error| format!("its chain of elements cannot be built: {}", error.message()))?;
    if bin.static_pad("src").is_none() {
        return Err("its chain of elements has no end to which a decoder can be linked".into());
    }
    Ok(bin.upcast())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_one_end_and_says_what_it_lacks() {
        gst::init().unwrap();
        assert!(source("videotestsrc num-buffers=3 ! video/x-raw,width=64,height=48 ! videoconvert").is_ok());
        for (chain, said) in [("videotestsrc ! nosuchelement", "nosuchelement"), ("videotestsrc patern=ball", "patern")]
        {
            let refused = source(chain).unwrap_err();
            assert!(refused.contains(said), "{chain}: {refused}");
        }
    }
}
