//! The table of keys: what each does, on which backend, and which test shows it. `configs/KEYS.md` is printed from it.
//!
//! A key whose capability is not built yet says here what it will do; a configuration that sets it is warned by name.

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// On every backend.
    All,
    /// On the portable backend.
    Portable,
    /// On DeepStream.
    DeepStream,
}

/// Whether a key does something yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Built; the test that shows the effect.
    Built(&'static str),
    /// Not built: the effect is what it will do.
    NotBuilt,
}

/// One key.
#[derive(Debug, Clone, Copy)]
struct Row {
    key: &'static str,
    backend: Backend,
    effect: &'static str,
    state: State,
}

const fn proved(key: &'static str, effect: &'static str, test: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::Built(test) }
}

const fn portable(key: &'static str, effect: &'static str, test: &'static str) -> Row {
    Row { key, backend: Backend::Portable, effect, state: State::Built(test) }
}

const fn planned(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::All, effect, state: State::NotBuilt }
}

const fn deepstream(key: &'static str, effect: &'static str) -> Row {
    Row { key, backend: Backend::DeepStream, effect, state: State::NotBuilt }
}

const ROWS: &[Row] = &[
    // The whole
    proved("name", "named in status", "names_are_what_the_pages_show"),
    proved("version", "shown in status and metrics", "labels_of_the_deployment_are_in_status_and_metrics"),
    proved(
        "debug",
        "log level debug unless logging.level is set",
        "the_log_has_the_levels_form_and_places_that_are_set",
    ),
    proved("environment", "shown in status and metrics", "labels_of_the_deployment_are_in_status_and_metrics"),
    proved(
        "thread_pool_size",
        "number of inference workers",
        "there_are_as_many_workers_as_set_on_the_cores_that_are_set",
    ),
    proved("max_concurrent_sources", "more enabled sources are refused", "more_sources_than_a_key_allows_do_not_start"),
    proved(
        "graceful_shutdown_timeout",
        "the process ends within it after a signal",
        "after_a_signal_the_end_comes_within_the_time_that_is_set",
    ),
    proved(
        "timezone",
        "the zone of local times, schedules and quiet hours",
        "scripts_are_told_the_local_time_of_the_zone_that_is_set",
    ),
    proved(
        "profiles",
        "parts of a configuration by name",
        "a_switch_changes_all_that_the_profiles_differ_in_and_outlasts_a_restart",
    ),
    proved(
        "profile",
        "the one of them that lies over the file",
        "a_flag_prevails_over_a_variable_a_switch_and_the_file",
    ),
    proved(
        "profile_schedule[].profile",
        "the profile that applies by itself",
        "a_profile_applies_by_itself_in_its_hours",
    ),
    proved("profile_schedule[].days", "the days on which its hours begin", "a_profile_applies_by_itself_in_its_hours"),
    proved("profile_schedule[].from", "when they begin", "a_profile_applies_by_itself_in_its_hours"),
    proved("profile_schedule[].to", "when they end", "a_profile_applies_by_itself_in_its_hours"),
    proved("extensions", "handed to scripts", "scripts_are_handed_the_extensions_and_their_changes"),
    // pipeline
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
    planned("pipeline.processing_width", "width at which pictures are analysed"),
    planned("pipeline.processing_height", "height at which pictures are analysed"),
    planned("pipeline.buffer_pool_size", "buffers each decoder may hold"),
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
    // detection
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
    // alerts
    proved("alerts.enabled", "whether alerts are raised at all", "the_policys_keys_decide_which_alerts_are_written"),
    proved(
        "alerts.throttle_seconds",
        "a condition is told again after it was not raised for this long",
        "the_policys_keys_decide_which_alerts_are_written",
    ),
    proved(
        "alerts.repeat_seconds",
        "an alert that is still raised is sent again after this long",
        "the_policys_limits_hold_alerts_back_and_digests_name_them",
    ),
    proved(
        "alerts.burst_threshold",
        "most alerts of one rule of one source in a window; a digest has the others",
        "the_policys_limits_hold_alerts_back_and_digests_name_them",
    ),
    proved(
        "alerts.burst_window_seconds",
        "the window of the burst threshold",
        "the_policys_limits_hold_alerts_back_and_digests_name_them",
    ),
    proved(
        "alerts.max_alerts_per_minute",
        "most alerts of all sources in any minute; digests have the others",
        "the_policys_limits_hold_alerts_back_and_digests_name_them",
    ),
    proved(
        "alerts.max_critical_per_minute",
        "most critical alerts of one rule of one source in any minute; a digest has the others",
        "the_policys_limits_hold_alerts_back_and_digests_name_them",
    ),
    proved("alerts.min_confidence", "weaker alerts are refused", "the_policys_keys_decide_which_alerts_are_written"),
    proved(
        "alerts.quiet_hours[].days",
        "the days on which quiet hours begin",
        "quiet_hours_suppress_all_but_the_gravest_alerts",
    ),
    proved("alerts.quiet_hours[].from", "when they begin", "quiet_hours_suppress_all_but_the_gravest_alerts"),
    proved("alerts.quiet_hours[].to", "when they end", "quiet_hours_suppress_all_but_the_gravest_alerts"),
    proved(
        "alerts.quiet_hours[].min_level",
        "the lowest level that is sent in them",
        "quiet_hours_suppress_all_but_the_gravest_alerts",
    ),
    proved("alerts.level", "level of an alert that names none", "the_policys_keys_decide_which_alerts_are_written"),
    proved("alerts.rules", "the policy of single rules", "a_rule_and_a_source_have_a_policy_of_their_own"),
    proved(
        "alerts.source_lost_seconds",
        "how long a live source may be away until an alert says so",
        "cameras_that_go_away_together_make_one_alert",
    ),
    proved(
        "alerts.retry_attempts",
        "attempts after answers that look permanent",
        "webhooks_are_tried_as_often_and_as_patiently_as_they_are_told",
    ),
    proved(
        "alerts.max_retry_delay",
        "longest pause between attempts",
        "an_alert_is_tried_until_it_is_too_old_and_then_expires",
    ),
    proved(
        "alerts.max_age_seconds",
        "how long an alert is tried",
        "an_alert_is_tried_until_it_is_too_old_and_then_expires",
    ),
    proved(
        "alerts.handlers[].max_age_seconds",
        "how long this handler tries an alert",
        "an_alert_is_tried_until_it_is_too_old_and_then_expires",
    ),
    proved("alerts.max_queued", "how many alerts wait for a handler", "a_full_queue_gives_up_what_it_is_told_to"),
    proved("alerts.when_full", "what a full queue gives up", "a_full_queue_gives_up_what_it_is_told_to"),
    proved(
        "alerts.retry_delay",
        "pause between attempts",
        "webhooks_are_tried_as_often_and_as_patiently_as_they_are_told",
    ),
    proved(
        "alerts.outbox.durability",
        "whether an accepted alert survives the process",
        "an_alert_that_was_accepted_survives_a_kill",
    ),
    proved(
        "alerts.outbox.keep_days",
        "how long delivered alerts can be listed",
        "delivered_alerts_are_listed_as_long_and_as_many_as_the_keys_say",
    ),
    proved(
        "alerts.outbox.keep_alerts",
        "how many alerts can be listed",
        "delivered_alerts_are_listed_as_long_and_as_many_as_the_keys_say",
    ),
    proved(
        "alerts.pictures.enabled",
        "whether pictures of alerts are kept",
        "a_picture_of_each_alert_is_kept_as_the_keys_say",
    ),
    proved("alerts.pictures.keep_days", "how long", "pictures_are_kept_as_long_and_as_many_as_the_keys_say"),
    proved("alerts.pictures.max_mb", "how many megabytes", "pictures_are_kept_as_long_and_as_many_as_the_keys_say"),
    proved("alerts.pictures.quality", "JPEG quality", "a_picture_of_each_alert_is_kept_as_the_keys_say"),
    proved("alerts.pictures.max_width", "widest picture", "a_picture_of_each_alert_is_kept_as_the_keys_say"),
    proved(
        "alerts.pictures.clean",
        "whether the picture without boxes is kept, too",
        "a_picture_of_each_alert_is_kept_as_the_keys_say",
    ),
    proved(
        "alerts.handlers[].name",
        "the handler's name in logs and metrics, its kind by default",
        "names_are_what_the_pages_show",
    ),
    proved(
        "alerts.handlers[].type",
        "console, file, webhook, email, mqtt or slack",
        "file_handlers_write_where_and_as_much_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].enabled",
        "whether alerts go there",
        "file_handlers_write_where_and_as_much_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].where.min_level",
        "the lowest level that goes there",
        "handlers_get_the_alerts_that_their_where_lets_through",
    ),
    proved(
        "alerts.handlers[].where.sources",
        "only alerts of these sources",
        "handlers_get_the_alerts_that_their_where_lets_through",
    ),
    proved(
        "alerts.handlers[].where.not_sources",
        "no alerts of these sources",
        "handlers_get_the_alerts_that_their_where_lets_through",
    ),
    proved(
        "alerts.handlers[].where.rules",
        "only alerts of these rules",
        "handlers_get_the_alerts_that_their_where_lets_through",
    ),
    proved(
        "alerts.handlers[].where.not_rules",
        "no alerts of these rules",
        "handlers_get_the_alerts_that_their_where_lets_through",
    ),
    proved(
        "alerts.handlers[].where.tags",
        "only alerts with one of these tags",
        "alerts_have_the_tags_of_their_strategy_and_go_where_these_are_wanted",
    ),
    proved(
        "alerts.handlers[].config.log_file",
        "where alerts are written",
        "file_handlers_write_where_and_as_much_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.format",
        "how an alert is written",
        "a_file_is_written_in_the_format_that_is_set_and_rotates_by_the_hour_or_day",
    ),
    proved(
        "alerts.handlers[].config.rotate",
        "the file also rotates after each hour or day",
        "a_file_is_written_in_the_format_that_is_set_and_rotates_by_the_hour_or_day",
    ),
    proved(
        "alerts.handlers[].config.max_size_mb",
        "size at which the file rotates",
        "file_handlers_write_where_and_as_much_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.backup_count",
        "rotated files kept",
        "file_handlers_write_where_and_as_much_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.url",
        "where alerts are posted, or the broker to publish to",
        "webhooks_post_where_and_with_what_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.ca_file",
        "authorities that are trusted beside the machine's",
        "a_webhook_trusts_the_authorities_that_it_is_told",
    ),
    proved(
        "alerts.handlers[].config.timeout",
        "longest wait for an answer",
        "webhooks_are_tried_as_often_and_as_patiently_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.headers",
        "headers of the request",
        "webhooks_post_where_and_with_what_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.client_id",
        "the name that the broker knows the program by",
        "alerts_are_published_where_and_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.topic_prefix",
        "the first levels of every topic",
        "alerts_are_published_where_and_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.qos",
        "how a message is acknowledged",
        "alerts_are_published_where_and_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.retain",
        "whether the broker keeps the latest alerts",
        "alerts_are_published_where_and_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.commands",
        "whether messages of others switch sources and profiles",
        "sources_and_profiles_are_switched_by_messages_and_their_state_is_published",
    ),
    proved("alerts.handlers[].config.body_template", "text of mails", "mails_have_the_text_that_is_set"),
    proved(
        "alerts.handlers[].config.min_interval_seconds",
        "alerts within it come in one mail",
        "each_alert_has_a_mail_of_its_own_where_the_interval_is_zero",
    ),
    proved(
        "alerts.handlers[].config.discovery",
        "whether Home Assistant is told of the sources",
        "home_assistant_is_told_of_each_source",
    ),
    proved(
        "alerts.handlers[].config.discovery_prefix",
        "where Home Assistant looks for devices",
        "home_assistant_is_told_of_each_source",
    ),
    proved(
        "alerts.handlers[].config.method",
        "the method of the request",
        "a_webhook_is_sent_by_the_method_as_the_user_and_with_the_body_that_are_set",
    ),
    proved(
        "alerts.handlers[].config.auth.username",
        "the user of Basic authorization",
        "a_webhook_is_sent_by_the_method_as_the_user_and_with_the_body_that_are_set",
    ),
    proved(
        "alerts.handlers[].config.auth.password",
        "the user's password",
        "a_webhook_is_sent_by_the_method_as_the_user_and_with_the_body_that_are_set",
    ),
    proved(
        "alerts.handlers[].config.body",
        "the body of the request",
        "a_webhook_is_sent_by_the_method_as_the_user_and_with_the_body_that_are_set",
    ),
    proved(
        "alerts.handlers[].config.include_picture",
        "picture of the alert in the body",
        "a_webhook_has_the_picture_of_its_alert_where_it_is_wanted",
    ),
    proved(
        "alerts.handlers[].config.success_codes",
        "the answers that count as delivered",
        "a_webhooks_own_attempts_and_answers_count",
    ),
    proved(
        "alerts.handlers[].config.retry_attempts",
        "attempts of this handler alone",
        "a_webhooks_own_attempts_and_answers_count",
    ),
    proved(
        "alerts.handlers[].config.connect_timeout",
        "longest wait for the connection",
        "a_connection_that_does_not_come_is_given_up_before_an_answer_is",
    ),
    proved(
        "alerts.handlers[].config.signing_secret",
        "signs each request",
        "a_signed_webhook_carries_what_its_secret_verifies_at_every_attempt",
    ),
    proved(
        "alerts.handlers[].module",
        "the script or component that delivers",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].class",
        "the table that holds its functions",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].settings",
        "handed to the module as they are",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].limits.soft_ms",
        "a call with more CPU time counts as slow",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].limits.hard_ms",
        "a call with more CPU time is stopped",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].limits.wall_ms",
        "refused: a delivery has a timeout",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "alerts.handlers[].limits.timeout_seconds",
        "a delivery that lasts longer is stopped",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].limits.memory_mb",
        "a call that wants more is stopped",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].limits.alerts_per_call",
        "refused: a handler raises none",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "alerts.handlers[].limits.added_per_call",
        "refused: a handler adds none",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "alerts.handlers[].limits.message_bytes",
        "longer messages and log lines are cut",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].limits.state_bytes",
        "writes past it are refused",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].limits.log_lines_per_second",
        "further lines are dropped and counted",
        "a_handler_in_a_script_is_held_to_the_limits_that_are_set",
    ),
    proved(
        "alerts.handlers[].grants.http",
        "hosts that requests reach",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].grants.shared_state",
        "state over all sources",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].grants.pixels",
        "refused: a handler has no picture",
        "keys_of_the_other_kind_of_module_are_refused",
    ),
    proved(
        "alerts.handlers[].grants.env",
        "environment variables that are read",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].grants.files",
        "files that are read",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].grants.secrets",
        "filled into requests by name",
        "a_handler_in_a_script_delivers_within_its_limits_and_grants",
    ),
    proved(
        "alerts.handlers[].persist_state",
        "whether its state survives a restart",
        "a_handlers_state_survives_a_restart_where_it_is_kept",
    ),
    proved(
        "alerts.handlers[].config.smtp_server",
        "mail server of the email handler",
        "mails_are_encrypted_as_they_are_told",
    ),
    proved("alerts.handlers[].config.smtp_port", "its port", "mails_are_encrypted_as_they_are_told"),
    proved(
        "alerts.handlers[].config.username",
        "user at the mail server or broker",
        "mails_are_sent_by_the_user_that_is_set",
    ),
    proved(
        "alerts.handlers[].config.password",
        "password at the mail server or broker",
        "mails_are_sent_by_the_user_that_is_set",
    ),
    proved(
        "alerts.handlers[].config.tls",
        "how the connection to the mail server is encrypted",
        "mails_are_encrypted_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.use_tls",
        "false: the connection to the mail server is not encrypted",
        "mails_are_encrypted_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.use_ssl",
        "true: the connection to the mail server begins with TLS",
        "mails_are_encrypted_as_they_are_told",
    ),
    proved("alerts.handlers[].config.from_address", "sender of mails", "mails_go_from_and_to_whom_they_are_told"),
    proved("alerts.handlers[].config.from_email", "sender of mails", "mails_go_from_and_to_whom_they_are_told"),
    proved("alerts.handlers[].config.to_addresses", "receivers of mails", "mails_go_from_and_to_whom_they_are_told"),
    proved("alerts.handlers[].config.to_emails", "receivers of mails", "mails_go_from_and_to_whom_they_are_told"),
    proved("alerts.handlers[].config.cc", "receivers of a copy", "mails_go_from_and_to_whom_they_are_told"),
    proved(
        "alerts.handlers[].config.bcc",
        "receivers of a copy whom the others do not see",
        "mails_go_from_and_to_whom_they_are_told",
    ),
    proved("alerts.handlers[].config.subject", "subject of mails", "mails_look_as_they_are_told"),
    proved("alerts.handlers[].config.subject_template", "subject of mails", "mails_look_as_they_are_told"),
    proved("alerts.handlers[].config.html", "whether mails have HTML beside their text", "mails_look_as_they_are_told"),
    proved(
        "alerts.handlers[].config.include_html",
        "whether mails have HTML beside their text",
        "mails_look_as_they_are_told",
    ),
    proved(
        "alerts.handlers[].config.include_attachments",
        "picture of the alert in its mail",
        "a_mail_has_the_picture_of_its_alert_where_it_is_wanted",
    ),
    proved(
        "alerts.handlers[].config.webhook_url",
        "address of the slack handler",
        "the_slack_handler_posts_to_the_address_that_is_set",
    ),
    // monitoring
    proved("monitoring.enabled", "whether the HTTP listener is there", "the_pages_are_where_and_what_the_keys_say"),
    proved(
        "monitoring.listen",
        "address of the listener; beyond loopback it asks for tokens",
        "beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token",
    ),
    proved(
        "monitoring.allowed_hosts",
        "host names that requests may carry",
        "the_pages_answer_to_the_hosts_that_are_listed",
    ),
    proved(
        "monitoring.tokens[].name",
        "the token's name in refusals and the audit",
        "beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token",
    ),
    proved(
        "monitoring.tokens[].token",
        "reference to the text that is sent as `Authorization: Bearer`",
        "beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token",
    ),
    proved(
        "monitoring.tokens[].scopes",
        "what it allows",
        "beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token",
    ),
    proved(
        "monitoring.tokens[].sources",
        "the only sources it is for",
        "beyond_loopback_probes_and_scrapes_are_answered_and_the_rest_asks_for_a_token",
    ),
    proved("monitoring.public", "what needs no token", "what_is_not_made_public_asks_for_a_token_beyond_loopback"),
    proved(
        "monitoring.metrics_enabled",
        "whether the metrics page is there",
        "the_pages_are_where_and_what_the_keys_say",
    ),
    proved(
        "monitoring.prometheus.enabled",
        "whether the metrics page is there",
        "the_pages_are_where_and_what_the_keys_say",
    ),
    proved("monitoring.prometheus.port", "port of the listener", "the_pages_are_where_and_what_the_keys_say"),
    proved("monitoring.prometheus.path", "path of the metrics page", "the_pages_are_where_and_what_the_keys_say"),
    proved(
        "monitoring.prometheus_enabled",
        "whether the metrics page is there",
        "the_pages_are_where_and_what_the_keys_say",
    ),
    proved("monitoring.prometheus_port", "port of the listener", "the_pages_are_where_and_what_the_keys_say"),
    proved("monitoring.prometheus_path", "path of the metrics page", "the_pages_are_where_and_what_the_keys_say"),
    proved(
        "monitoring.cpu_affinity",
        "cores that the engine's threads are pinned to",
        "there_are_as_many_workers_as_set_on_the_cores_that_are_set",
    ),
    proved(
        "monitoring.thread_pool_size",
        "number of inference workers",
        "there_are_as_many_workers_as_set_on_the_cores_that_are_set",
    ),
    proved(
        "monitoring.metrics_interval",
        "time between samples of the machine and the process",
        "the_metrics_are_in_the_log_where_and_as_often_as_the_keys_say",
    ),
    proved(
        "monitoring.health_check_interval",
        "time between looks at the thresholds",
        "a_threshold_that_is_crossed_is_a_problem_and_an_alert_until_it_clears",
    ),
    proved(
        "monitoring.profiling_enabled",
        "a run ends with where the time went, by stage, model and rule",
        "a_run_says_where_the_time_went_where_it_is_asked_to",
    ),
    proved(
        "monitoring.log_metrics",
        "a line of figures in the log for each sample",
        "the_metrics_are_in_the_log_where_and_as_often_as_the_keys_say",
    ),
    planned("monitoring.auto_recovery", "false leaves failed sources down"),
    proved(
        "monitoring.cpu_threshold",
        "most CPU of the machine in use, where it is set",
        "every_threshold_is_looked_at_where_it_is_set",
    ),
    proved(
        "monitoring.memory_threshold",
        "most memory of the machine in use, where it is set",
        "every_threshold_is_looked_at_where_it_is_set",
    ),
    planned("monitoring.gpu_threshold", "system alert on GPU use"),
    proved(
        "monitoring.thresholds.max_memory_mb",
        "most memory of the engine, where it is set",
        "every_threshold_is_looked_at_where_it_is_set",
    ),
    proved(
        "monitoring.thresholds.max_cpu_percent",
        "most of the machine's CPU that the engine uses, where it is set",
        "every_threshold_is_looked_at_where_it_is_set",
    ),
    proved(
        "monitoring.thresholds.min_fps",
        "fewest frames a source delivers per second, where it is set",
        "a_threshold_that_is_crossed_is_a_problem_and_an_alert_until_it_clears",
    ),
    proved(
        "monitoring.thresholds.max_latency_ms",
        "longest mean time from a frame's arrival to its verdict, where it is set",
        "every_threshold_is_looked_at_where_it_is_set",
    ),
    // logging
    proved("logging.level", "lowest level logged", "the_log_has_the_levels_form_and_places_that_are_set"),
    proved(
        "logging.format",
        "JSON, text, or text with colour on a terminal",
        "the_log_has_the_levels_form_and_places_that_are_set",
    ),
    proved(
        "logging.log_file",
        "a file that gets the log as well",
        "the_log_has_the_levels_form_and_places_that_are_set",
    ),
    proved(
        "logging.console_output",
        "whether standard error gets the log",
        "the_log_has_the_levels_form_and_places_that_are_set",
    ),
    proved(
        "logging.json_output",
        "JSON lines, whatever format says",
        "the_log_has_the_levels_form_and_places_that_are_set",
    ),
    proved(
        "logging.include_metrics",
        "whether JSON records have the newest figures",
        "the_metrics_are_in_the_log_where_and_as_often_as_the_keys_say",
    ),
    proved(
        "logging.max_file_size_mb",
        "size at which the log file rotates",
        "the_log_file_rotates_at_its_size_and_keeps_as_many_as_set",
    ),
    proved(
        "logging.backup_count",
        "rotated log files kept",
        "the_log_file_rotates_at_its_size_and_keeps_as_many_as_set",
    ),
    proved(
        "logging.real_time_streaming",
        "whether the log is followed at a port of loopback",
        "the_log_is_followed_at_the_port_that_is_set",
    ),
    proved("logging.streaming_port", "that port", "the_log_is_followed_at_the_port_that_is_set"),
    proved(
        "logging.filter_spam",
        "a line that repeats is written once, then counted",
        "lines_that_repeat_and_lines_beyond_the_limit_are_counted_and_told",
    ),
    proved(
        "logging.rate_limit_per_minute",
        "most lines of one place and level in a minute; the rest is counted",
        "lines_that_repeat_and_lines_beyond_the_limit_are_counted_and_told",
    ),
    // recovery
    portable(
        "recovery.max_retries",
        "retries before a source counts as failed",
        "a_camera_is_tried_again_when_and_as_often_as_the_keys_say",
    ),
    portable(
        "recovery.retry_delay",
        "first delay before a retry",
        "a_camera_is_tried_again_when_and_as_often_as_the_keys_say",
    ),
    portable(
        "recovery.exponential_backoff",
        "whether the delay doubles",
        "a_camera_is_tried_again_when_and_as_often_as_the_keys_say",
    ),
    portable("recovery.max_retry_delay", "longest delay", "a_camera_is_tried_again_when_and_as_often_as_the_keys_say"),
    portable(
        "recovery.source_timeout_seconds",
        "longest silence of a source",
        "a_silent_camera_is_given_up_after_the_time_that_is_set",
    ),
    planned("recovery.circuit_breaker_enabled", "give up for a while after repeated failures"),
    planned("recovery.circuit_breaker_threshold", "failures that open the breaker"),
    planned("recovery.circuit_breaker_timeout", "time the breaker stays open"),
    planned("recovery.pipeline_restart_threshold", "errors after which the pipeline is rebuilt"),
    // inference
    proved(
        "inference.ort_library",
        "the libonnxruntime that is opened",
        "the_inference_library_is_the_one_that_is_named",
    ),
    // sources
    proved(
        "sources[].id",
        "the source's name in frames, alerts, logs and metrics",
        "the_summary_has_the_sources_that_are_listed_and_switched_on",
    ),
    planned("sources[].name", "a name for people, shown beside the id"),
    proved(
        "sources[].type",
        "file, rtsp, test, scene, trace; webcam, webrtc, network and http are not built yet",
        "the_summary_has_the_sources_that_are_listed_and_switched_on",
    ),
    proved("sources[].uri", "what is read", "the_summary_has_the_sources_that_are_listed_and_switched_on"),
    proved("sources[].enabled", "whether it is watched", "the_summary_has_the_sources_that_are_listed_and_switched_on"),
    proved(
        "sources[].fps",
        "frames analysed per second",
        "the_summary_has_the_sources_that_are_listed_and_switched_on",
    ),
    proved("sources[].realtime", "a file plays at its own pace", "a_file_plays_at_its_own_pace_where_it_is_told_to"),
    proved(
        "sources[].zones",
        "areas of its picture",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
    ),
    proved("sources[].blackout", "areas of its picture that nobody may see", "what_is_blacked_out_is_seen_by_nobody"),
    proved(
        "sources[].confidence_threshold",
        "detections that score lower are dropped",
        "a_sources_own_threshold_holds_for_it_alone",
    ),
    proved(
        "sources[].alerts.throttle_seconds",
        "as alerts.throttle_seconds, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.repeat_seconds",
        "as alerts.repeat_seconds, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.burst_threshold",
        "as alerts.burst_threshold, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.burst_window_seconds",
        "as alerts.burst_window_seconds, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.max_alerts_per_minute",
        "most alerts of this source in any minute; digests have the others",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.max_critical_per_minute",
        "as alerts.max_critical_per_minute, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.min_confidence",
        "as alerts.min_confidence, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.level",
        "as alerts.level, of this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.quiet_hours[].days",
        "the days on which quiet hours of this source begin",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved("sources[].alerts.quiet_hours[].from", "when they begin", "a_rule_and_a_source_have_a_policy_of_their_own"),
    proved("sources[].alerts.quiet_hours[].to", "when they end", "a_rule_and_a_source_have_a_policy_of_their_own"),
    proved(
        "sources[].alerts.quiet_hours[].min_level",
        "the lowest level that is sent in them",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    proved(
        "sources[].alerts.rules",
        "the policy of single rules on this source",
        "a_rule_and_a_source_have_a_policy_of_their_own",
    ),
    planned("sources[].max_objects", "most detections per frame of this source"),
    portable(
        "sources[].max_retries",
        "retries before it counts as failed",
        "a_camera_is_tried_again_when_and_as_often_as_the_keys_say",
    ),
    portable(
        "sources[].retry_delay",
        "first delay before a retry",
        "a_camera_is_tried_again_when_and_as_often_as_the_keys_say",
    ),
    portable("sources[].timeout", "longest silence", "a_silent_camera_is_given_up_after_the_time_that_is_set"),
    planned("sources[].retry_count", "nothing: a counter that the old system wrote into its files"),
    proved(
        "sources[].parameters.loop",
        "a file or scene begins again at its end",
        "a_file_and_a_scene_begin_again_where_they_are_told_to",
    ),
    proved(
        "sources[].parameters.realtime",
        "a file plays at its own pace",
        "a_file_plays_at_its_own_pace_where_it_is_told_to",
    ),
    proved("sources[].parameters.pattern", "the test picture", "a_test_source_shows_what_its_parameters_say"),
    proved("sources[].parameters.frames", "frames of a test source", "a_test_source_shows_what_its_parameters_say"),
    proved(
        "sources[].parameters.num-buffers",
        "frames of a test source",
        "a_test_source_shows_what_its_parameters_say",
    ),
    proved(
        "sources[].parameters.framerate",
        "frames per second of a test source",
        "a_test_source_shows_what_its_parameters_say",
    ),
    proved("sources[].parameters.width", "width of a test picture", "a_test_source_shows_what_its_parameters_say"),
    proved("sources[].parameters.height", "height of a test picture", "a_test_source_shows_what_its_parameters_say"),
    proved("sources[].parameters.seed", "what a scene shows", "a_scene_shows_what_its_parameters_say"),
    proved("sources[].parameters.pixels", "whether a scene has pictures", "a_scene_shows_what_its_parameters_say"),
    proved("sources[].parameters.live", "whether a scene drops what is late", "a_scene_shows_what_its_parameters_say"),
    planned("sources[].parameters.latency", "jitter buffer of a stream"),
    portable(
        "sources[].parameters.protocol",
        "how a camera's packets come",
        "a_camera_that_takes_udp_only_is_seen_and_the_protocol_can_be_set",
    ),
    portable(
        "sources[].parameters.ca_file",
        "authorities that are trusted beside the machine's",
        "a_cameras_certificate_is_accepted_by_its_authority_or_its_fingerprint",
    ),
    portable(
        "sources[].parameters.fingerprint",
        "the one certificate that a camera may show",
        "a_cameras_certificate_is_accepted_by_its_authority_or_its_fingerprint",
    ),
    planned("sources[].parameters.buffer_size", "receive buffer of a stream"),
    // plugins
    proved(
        "plugins.folder",
        "what lies there judges, and is noticed while the engine runs",
        "what_is_dropped_into_the_folder_judges_and_goes_with_its_file",
    ),
    proved("plugins.sources", "only these sources are judged", "dropped_in_plugins_judge_the_sources_that_are_set"),
    // zones
    proved(
        "zones",
        "areas of every source's picture",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
    ),
];

/// What a key will do once it is built; `None` for a key that is built, or is no key.
pub(super) fn not_built(key: &str) -> Option<&'static str> {
    ROWS.iter().find(|row| row.key == key && row.state == State::NotBuilt).map(|row| row.effect)
}

/// Every key of the table, with the test that proves it; `None` for a key that is not built.
pub(super) fn table() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    ROWS.iter().map(|row| match row.state {
        State::Built(test) => (row.key, Some(test)),
        State::NotBuilt => (row.key, None),
    })
}

/// Keys that take effect after a restart only, each with the setting of `diff` that holds it back.
const RESTART: &[(&str, &str)] = &[
    ("alerts.outbox.durability", "alerts.outbox"),
    ("alerts.outbox.keep_days", "alerts.outbox"),
    ("alerts.outbox.keep_alerts", "alerts.outbox"),
    ("inference.ort_library", "inference.ort_library"),
    ("monitoring.enabled", "monitoring.enabled"),
    ("monitoring.listen", "monitoring.listen"),
    ("monitoring.prometheus.port", "monitoring.prometheus.port"),
    ("monitoring.prometheus_port", "monitoring.prometheus.port"),
    ("monitoring.cpu_affinity", "monitoring.cpu_affinity"),
    ("thread_pool_size", "thread_pool_size"),
    ("monitoring.thread_pool_size", "thread_pool_size"),
    ("logging.format", "logging.format"),
    ("logging.json_output", "logging.format"),
    ("logging.log_file", "logging.log_file"),
    ("logging.max_file_size_mb", "logging.max_file_size_mb"),
    ("logging.backup_count", "logging.backup_count"),
    ("logging.console_output", "logging.console_output"),
    ("logging.include_metrics", "logging.include_metrics"),
    ("logging.real_time_streaming", "logging.streaming_port"),
    ("logging.streaming_port", "logging.streaming_port"),
    ("logging.filter_spam", "logging.filter_spam"),
    ("logging.rate_limit_per_minute", "logging.rate_limit_per_minute"),
];

/// The table as Markdown.
pub fn keys_markdown() -> String {
    let missing = ROWS.iter().filter(|row| row.state == State::NotBuilt).count();
    let mut out = format!(
        "# Every configuration key\n\nPrinted from `src/config/keys.rs`; what a key means, its range and default: \
         `dsengine schema`.\n\n{} keys: {} built, each with the test that sees its effect from outside, and {missing} \
         not built yet. Live: whether a change takes effect while the engine runs (yes) or with its restart.\n\n\
         | key | backend | live | effect | proof |\n|---|---|---|---|---|\n",
        ROWS.len(),
        ROWS.len() - missing
    );
    for row in ROWS {
        let backend = match row.backend {
            Backend::All => "all",
            Backend::Portable => "portable",
            Backend::DeepStream => "deepstream",
        };
        let live = match row.state {
            State::NotBuilt => "–",
            State::Built(_) if RESTART.iter().any(|(key, _)| *key == row.key) => "restart",
            State::Built(_) => "yes",
        };
        let proof = match row.state {
            State::Built(test) => format!("`{test}`"),
            State::NotBuilt => "**not built**".to_owned(),
        };
        out.push_str(&format!("| `{}` | {backend} | {live} | {} | {proof} |\n", row.key, row.effect));
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::diff::restart_settings;

    #[test]
    fn what_the_table_says_needs_a_restart_is_what_is_held_back() {
        let table: BTreeSet<&str> = RESTART.iter().map(|(_, setting)| *setting).collect();
        let held_back: BTreeSet<&str> = restart_settings().collect();
        assert_eq!(table, held_back);
        for (key, _) in RESTART {
            assert!(ROWS.iter().any(|row| row.key == *key && row.state != State::NotBuilt), "{key}");
        }
    }
}
