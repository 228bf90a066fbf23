//! `pipeline`: pictures and batches.

use super::{Row, deepstream, planned, portable, proved};

pub(super) const ROWS: &[Row] = &[
    proved(
        "pipeline.batch_size",
        "frames per inference call of a model with a dynamic batch axis",
        "frames_are_inferred_in_batches_of_the_size_that_is_set",
    ),
    proved(
        "pipeline.batch_timeout_ms",
        "an unfilled batch is inferred after it",
        "an_unfilled_batch_waits_as_long_as_it_is_told",
    ),
    proved(
        "pipeline.batch_timeout_us",
        "an unfilled batch is inferred after it",
        "an_unfilled_batch_waits_as_long_as_it_is_told",
    ),
    proved(
        "pipeline.fps",
        "frames analysed per second of each source",
        "the_summary_has_the_sources_that_are_listed_and_switched_on",
    ),
    deepstream("pipeline.width", "width of the muxed picture"),
    deepstream("pipeline.height", "height of the muxed picture"),
    portable(
        "pipeline.processing_width",
        "wider pictures are scaled down once, before all else",
        "pictures_beyond_a_size_are_scaled_down_and_keep_their_shape",
    ),
    portable(
        "pipeline.processing_height",
        "higher pictures are scaled down once, before all else",
        "pictures_beyond_a_size_are_scaled_down_and_keep_their_shape",
    ),
    proved(
        "pipeline.buffer_pool_size",
        "most decoded pictures of one source at once",
        "so_many_pictures_of_a_source_are_held_at_most",
    ),
    deepstream("pipeline.gpu_id", "the GPU that decodes and infers"),
    planned("pipeline.enable_gpu_inference", "infer on the GPU where there is one"),
    deepstream("pipeline.memory_type", "where the GPU keeps pictures"),
    deepstream("pipeline.num_decode_surfaces", "surfaces of each hardware decoder"),
    proved(
        "pipeline.processing_mode",
        "single infers each frame alone",
        "frames_are_inferred_alone_where_a_key_says_so",
    ),
    proved("pipeline.max_sources", "more enabled sources are refused", "more_sources_than_a_key_allows_do_not_start"),
];
