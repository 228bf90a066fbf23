//! `sources`, their zones, and `recovery` from their failures.

use super::{Row, planned, portable, proved};

pub(super) const ROWS: &[Row] = &[
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
    portable(
        "sources[].streams.detect",
        "as uri, of a camera with two streams",
        "evidence_is_kept_of_a_cameras_other_stream_and_given_out_as_clip_and_picture",
    ),
    portable(
        "sources[].streams.evidence",
        "the stream that is kept as it comes",
        "evidence_is_kept_of_a_cameras_other_stream_and_given_out_as_clip_and_picture",
    ),
    portable(
        "sources[].evidence.pre_seconds",
        "time that is kept of a camera's encoded stream",
        "as_much_evidence_is_kept_as_the_keys_say",
    ),
    portable("sources[].evidence.max_mb", "most that is kept of it", "as_much_evidence_is_kept_as_the_keys_say"),
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
    // zones
    proved(
        "zones",
        "areas of every source's picture",
        "scripts_judge_the_sources_and_with_the_settings_that_they_are_given",
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
];
