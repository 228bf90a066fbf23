//! `sources`, their zones, and `recovery` from their failures.

use super::{Row, portable, proved};

pub(super) const ROWS: &[Row] = &[
    // sources
    proved(
        "sources[].id",
        "the source's name in frames, alerts, logs and metrics",
        "the_summary_has_the_sources_that_are_listed_and_switched_on",
    ),
    proved(
        "sources[].name",
        "a name for people, shown beside the id",
        "a_sources_name_for_people_is_shown_beside_its_id",
    ),
    proved(
        "sources[].type",
        "file, rtsp, http, network, webcam, webrtc, test, scene, trace, detections, gstreamer",
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
    proved(
        "sources[].priority",
        "how often it is analysed, relative to others, while there are more frames than can be",
        "under_overload_sources_are_analysed_by_their_priority",
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
    proved(
        "sources[].max_objects",
        "most detections per frame of this source, by score",
        "a_frame_has_so_many_detections_at_most_the_best_ones",
    ),
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
    portable("sources[].retry_count", "retries that count as made at the start", "retries_made_before_the_start_count"),
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
        "frames per second of a test source, of pictures, of a webcam",
        "a_test_source_shows_what_its_parameters_say",
    ),
    proved("sources[].parameters.width", "width of a test picture", "a_test_source_shows_what_its_parameters_say"),
    proved("sources[].parameters.height", "height of a test picture", "a_test_source_shows_what_its_parameters_say"),
    proved("sources[].parameters.seed", "what a scene shows", "a_scene_shows_what_its_parameters_say"),
    proved("sources[].parameters.pixels", "whether a scene has pictures", "a_scene_shows_what_its_parameters_say"),
    proved(
        "sources[].parameters.live",
        "whether a scene drops what is late, and a web address has no end",
        "a_scene_shows_what_its_parameters_say",
    ),
    proved(
        "sources[].parameters.topic",
        "the topic of detections, where the address has none",
        "detections_come_by_mqtt_and_come_back_with_the_broker",
    ),
    proved(
        "sources[].parameters.format",
        "how detections are written",
        "messages_of_nvmsgconv_are_judged_by_the_size_of_their_pictures",
    ),
    proved(
        "sources[].parameters.sensor",
        "the sensor whose detections are taken",
        "messages_of_nvmsgconv_are_judged_by_the_size_of_their_pictures",
    ),
    portable(
        "sources[].parameters.latency",
        "how long a late packet of a camera is waited for",
        "a_cameras_jitter_buffer_and_receive_buffer_are_the_ones_that_are_set",
    ),
    portable(
        "sources[].parameters.form",
        "what stands at a web address",
        "pictures_one_after_the_other_are_played_by_content_type_or_by_parameter",
    ),
    portable(
        "sources[].parameters.hosts",
        "more hosts that a playlist or a redirect may name",
        "a_playlist_names_its_own_host_and_those_that_are_listed_and_nothing_else",
    ),
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
    portable(
        "sources[].parameters.stun",
        "through which a WebRTC source learns its public address",
        "a_publisher_is_reached_through_the_servers_that_are_set",
    ),
    portable(
        "sources[].parameters.turn",
        "which relays a WebRTC source's packets",
        "a_publisher_is_reached_through_the_servers_that_are_set",
    ),
    portable(
        "sources[].parameters.token",
        "sent to the server of a WebRTC source",
        "a_source_is_fetched_from_a_server_with_its_token_and_outlives_it",
    ),
    portable(
        "sources[].parameters.buffer_size",
        "receive buffer of a stream",
        "a_cameras_jitter_buffer_and_receive_buffer_are_the_ones_that_are_set",
    ),
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
    portable(
        "recovery.circuit_breaker_enabled",
        "after repeated failures the account is left alone",
        "while_the_breaker_is_open_the_account_is_left_alone",
    ),
    portable(
        "recovery.circuit_breaker_threshold",
        "failures that open the breaker",
        "while_the_breaker_is_open_the_account_is_left_alone",
    ),
    portable(
        "recovery.circuit_breaker_timeout",
        "time the breaker stays open",
        "while_the_breaker_is_open_the_account_is_left_alone",
    ),
    portable(
        "recovery.pipeline_restart_threshold",
        "damaged frames after which the pipeline is built anew",
        "damaged_frames_are_a_reason_to_build_the_pipeline_anew",
    ),
];
