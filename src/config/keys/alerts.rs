//! `alerts`, but for the handlers: policy, outbox and pictures.

use super::{Row, proved};

pub(super) const ROWS: &[Row] = &[
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
];
