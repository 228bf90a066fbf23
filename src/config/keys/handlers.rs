//! `alerts.handlers`: where alerts go.

use super::{Row, proved};

pub(super) const ROWS: &[Row] = &[
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
        "alerts.handlers[].max_age_seconds",
        "how long this handler tries an alert",
        "an_alert_is_tried_until_it_is_too_old_and_then_expires",
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
];
