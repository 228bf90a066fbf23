//! `detection` and `plugins`: what judges frames.

use super::{Row, planned, proved};

pub(super) const ROWS: &[Row] = &[
    proved(
        "detection.confidence_threshold",
        "detections that score lower are dropped",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.nms_threshold",
        "overlap above which the weaker box of a class is dropped",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.max_objects",
        "most detections per frame",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.enable_tracking",
        "detections carry track ids",
        "models_detect_and_are_followed_where_they_are_switched_on",
    ),
    planned("detection.tracker_config_file", "settings of the tracker"),
    proved(
        "detection.model_engine_file",
        "the model that detects",
        "models_detect_and_are_followed_where_they_are_switched_on",
    ),
    proved("detection.labels_file", "names of the classes", "labels_outputs_and_layout_are_the_ones_that_are_named"),
    proved(
        "detection.input_shape",
        "input size of a model with a dynamic one",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved("detection.output_layers", "outputs that are read", "labels_outputs_and_layout_are_the_ones_that_are_named"),
    proved(
        "detection.batch_inference",
        "false infers each frame alone",
        "frames_are_inferred_alone_where_a_key_says_so",
    ),
    planned("detection.max_batch_size", "bound on the batch of a TensorRT engine"),
    planned("detection.tensor_rt_precision", "precision of a TensorRT engine"),
    planned("detection.enabled_classes", "other labels are dropped"),
    planned("detection.supported_models", "kinds of models that are accepted"),
    proved("detection.strategies[].name", "the strategy's name in logs and metrics", "names_are_what_the_pages_show"),
    proved(
        "detection.strategies[].type",
        "what the strategy is",
        "a_strategy_of_any_name_watches_for_motion_by_its_type",
    ),
    proved(
        "detection.strategies[].enabled",
        "whether it runs",
        "models_detect_and_are_followed_where_they_are_switched_on",
    ),
    proved(
        "detection.strategies[].model_path",
        "the model that detects",
        "models_detect_and_are_followed_where_they_are_switched_on",
    ),
    proved(
        "detection.strategies[].labels_path",
        "names of the classes",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].module",
        "the script that judges",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
    ),
    proved(
        "detection.strategies[].class",
        "the table of a script that holds its functions",
        "a_class_of_a_script_judges",
    ),
    proved(
        "detection.strategies[].limits.soft_ms",
        "a call with more CPU time counts as slow",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.hard_ms",
        "a call with more CPU time is stopped",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.wall_ms",
        "a strategy's call that lasts longer is stopped",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.timeout_seconds",
        "refused: a strategy waits for nothing",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "detection.strategies[].limits.memory_mb",
        "a call that wants more is stopped",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.alerts_per_call",
        "further alerts of a call are dropped and counted",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.added_per_call",
        "a call that adds more detections fails",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.message_bytes",
        "longer messages and log lines are cut",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.state_bytes",
        "writes past it are refused",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].limits.log_lines_per_second",
        "further lines are dropped and counted",
        "a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "detection.strategies[].grants.http",
        "refused: a strategy sends no requests",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "detection.strategies[].grants.shared_state",
        "state over all sources",
        "a_script_reaches_what_is_granted_and_nothing_else",
    ),
    proved(
        "detection.strategies[].grants.pixels",
        "the frame's picture",
        "a_script_reaches_what_is_granted_and_nothing_else",
    ),
    proved(
        "detection.strategies[].grants.env",
        "environment variables that are read",
        "a_script_reaches_what_is_granted_and_nothing_else",
    ),
    proved(
        "detection.strategies[].grants.files",
        "files that are read",
        "a_script_reaches_what_is_granted_and_nothing_else",
    ),
    proved(
        "detection.strategies[].grants.secrets",
        "refused: a strategy sends no requests",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "detection.strategies[].persist_state",
        "whether its state survives a restart",
        "state_survives_a_restart_where_it_is_kept",
    ),
    proved(
        "detection.strategies[].on_failure",
        "what becomes of a frame whose judgement failed",
        "a_failed_frame_goes_where_on_failure_says",
    ),
    proved(
        "detection.strategies[].mode",
        "shadow judges beside another, without effects",
        "a_shadow_is_compared_and_promoted",
    ),
    proved(
        "detection.strategies[].shadow_of",
        "the strategy a shadow is compared with",
        "a_shadow_is_compared_and_promoted",
    ),
    proved(
        "detection.strategies[].sources",
        "only these sources are judged",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
    ),
    proved(
        "detection.strategies[].filters",
        "may take detections from later strategies",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
    ),
    proved(
        "detection.strategies[].schedule[].days",
        "the days on which its hours begin",
        "a_strategy_judges_within_its_schedule_only",
    ),
    proved("detection.strategies[].schedule[].from", "when they begin", "a_strategy_judges_within_its_schedule_only"),
    proved("detection.strategies[].schedule[].to", "when they end", "a_strategy_judges_within_its_schedule_only"),
    proved(
        "detection.strategies[].optional",
        "an overloaded engine skips it",
        "an_overloaded_engine_skips_optional_strategies_then_refuses_sources",
    ),
    proved(
        "detection.strategies[].tags",
        "what its alerts have as tags",
        "alerts_have_the_tags_of_their_strategy_and_go_where_these_are_wanted",
    ),
    proved(
        "detection.strategies[].config",
        "handed to the script as `config`",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
    ),
    planned("detection.strategies[].interval", "the model sees every n-th frame, the tracker bridges the others"),
    proved(
        "detection.strategies[].layout",
        "how the model's outputs are read",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].input_shape",
        "input size of a model with a dynamic one",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].output_layers",
        "outputs that are read",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].confidence_threshold",
        "detections that score lower are dropped",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.strategies[].nms_threshold",
        "overlap above which the weaker box of a class is dropped",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.strategies[].max_objects",
        "most detections per frame",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    planned("detection.strategies[].precision", "precision of a TensorRT engine"),
    planned(
        "detection.strategies[].config.interval",
        "the model sees every n-th frame, the tracker bridges the others",
    ),
    proved(
        "detection.strategies[].config.layout",
        "how the model's outputs are read",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].config.input_shape",
        "input size of a model with a dynamic one",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].config.output_layers",
        "outputs that are read",
        "labels_outputs_and_layout_are_the_ones_that_are_named",
    ),
    proved(
        "detection.strategies[].config.confidence_threshold",
        "detections that score lower are dropped",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.strategies[].config.nms_threshold",
        "overlap above which the weaker box of a class is dropped",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    proved(
        "detection.strategies[].config.max_objects",
        "most detections per frame",
        "weak_overlapping_and_surplus_detections_are_cut_where_the_keys_say",
    ),
    planned("detection.strategies[].config.precision", "precision of a TensorRT engine"),
    // plugins
    proved(
        "plugins.folder",
        "what lies there judges, and is noticed while the engine runs",
        "what_is_dropped_into_the_folder_judges_and_goes_with_its_file",
    ),
    proved("plugins.sources", "only these sources are judged", "dropped_in_plugins_judge_the_sources_that_are_set"),
];
