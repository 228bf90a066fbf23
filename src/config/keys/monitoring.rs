//! `monitoring` and `logging`: what the engine shows of itself.

use super::{Row, planned, portable, proved};

pub(super) const ROWS: &[Row] = &[
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
    portable(
        "monitoring.auto_recovery",
        "false leaves a failed source down until it is edited or restarted",
        "a_failed_source_stays_down_where_the_key_says_so",
    ),
    proved(
        "monitoring.degradation",
        "an overloaded engine gives up frames, optional strategies and new sources, in steps",
        "an_overloaded_engine_skips_optional_strategies_then_refuses_sources",
    ),
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
];
