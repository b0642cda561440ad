//! Tables of environments and what they mean.

use std::collections::{BTreeMap, BTreeSet};

use super::pairs::MAX_PAIRS;
use super::*;

fn of(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables: BTreeMap<&str, &str> = variables.iter().copied().collect();
    Config::from_lookup(|name| variables.get(name).map(ToString::to_string))
}

fn good(variables: &[(&str, &str)]) -> Config {
    of(variables).expect("nothing is wrong with it")
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn an_empty_environment_traces_one_percent_and_exports_nothing() {
    let config = good(&[("OTEL_TRACES_SAMPLER", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]);
    let expected = Config { ratio: Ratio(0.01), ..Config::off() };
    assert_eq!(config, expected);
}

#[test]
fn samplers_and_their_arguments_give_a_ratio() {
    let ratio = |sampler: &str, argument: &str| {
        good(&[("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]).ratio.get()
    };
    assert_eq!(ratio("", "0.25"), 0.25);
    assert_eq!(ratio("traceidratio", "0.25"), 0.25);
    assert_eq!(ratio("parentbased_traceidratio", "1"), 1.0);
    // As the specification has it.
    assert_eq!(ratio("traceidratio", ""), 1.0);
    assert_eq!(ratio("always_on", ""), 1.0);
    assert_eq!(ratio("parentbased_always_off", "0.5"), 0.0);
}

#[test]
fn the_general_endpoint_gets_the_path_of_traces_and_theirs_is_taken_as_it_is() {
    let url = |variables: &[(&str, &str)]| good(variables).endpoint.expect("an endpoint").url;
    let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
    assert_eq!(url(&[general]), "http://collector:4318/v1/traces");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://other:9/in");
    assert_eq!(url(&[general, traces]), "http://other:9/in");
    assert_eq!(url(&[("OTEL_TRACES_EXPORTER", "otlp")]), "http://localhost:4318/v1/traces");
}

#[test]
fn everything_about_the_export_can_be_said() {
    let config = good(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "general=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Bearer%20x%2Cy , b=2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=lost,deployment.environment.name=test"),
        ("OTEL_SERVICE_NAME", "orders"),
    ]);
    assert_eq!(config.service_name, "orders");
    assert_eq!(config.resource, owned(&[("deployment.environment.name", "test")]));
    let expected = Endpoint {
        url: "http://collector:4318/v1/traces".into(),
        headers: owned(&[("authorization", "Bearer x,y"), ("b", "2")]),
        timeout: Duration::from_millis(1_500),
        schedule_delay: Duration::from_millis(100),
        max_queue: 100,
        max_batch: 100,
    };
    assert_eq!(config.endpoint, Some(expected));
}

#[test]
fn a_switch_turns_tracing_off_and_another_the_export_alone() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    assert_eq!(good(&[endpoint, ("OTEL_SDK_DISABLED", "TRUE")]), Config::off());
    let kept = good(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]);
    assert_eq!((kept.endpoint, kept.ratio), (None, Ratio(0.01)));
}

#[test]
fn all_faults_are_told_at_once_with_their_values_and_what_is_allowed() {
    let error = of(&[
        ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b"),
        ("OTEL_SDK_DISABLED", "yes"),
    ])
    .expect_err("everything is wrong with it");
    let text = error.to_string();
    for part in [
        "OTEL_TRACES_SAMPLER is \"jaeger_remote\"; known are always_on",
        "OTEL_TRACES_SAMPLER_ARG is \"1.5\"; it is a share from 0 to 1",
        "OTEL_EXPORTER_OTLP_ENDPOINT is \"collector:4318\"; it is",
        "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\"; supported: http/protobuf",
        "OTEL_EXPORTER_OTLP_TIMEOUT is \"10s\"; it is from 1 to 3600000",
        "OTEL_BSP_MAX_QUEUE_SIZE is \"0\"; it is from 1 to 1048576",
        "OTEL_RESOURCE_ATTRIBUTES has no = in part 2",
        "OTEL_SDK_DISABLED is \"yes\"; it is true or false",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(error.faults.len(), 8);
}

#[test]
fn an_endpoint_with_tls_is_refused_with_a_way_out() {
    let error = of(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318")]).expect_err("no TLS");
    assert!(error.to_string().contains("TLS is not supported yet"), "{error}");
}

#[test]
fn secrets_in_headers_are_shown_nowhere() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    for headers in ["authorization=se%0acret", "bad name=secret", "=secret", "key=%ffsecret"] {
        let error = of(&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", headers)]).expect_err(headers);
        assert!(!error.to_string().contains("cret"), "{error}");
    }
    let config = good(&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret")]);
    assert!(!format!("{config:?}").contains("secret"), "{config:?}");
}

#[test]
fn limits_hold_at_the_limit_and_one_above() {
    let list = |count: usize| (0..count).map(|index| format!("n{index}=1")).collect::<Vec<_>>().join(",");
    let resource = |count| of(&[("OTEL_RESOURCE_ATTRIBUTES", list(count).as_str())]);
    assert_eq!(resource(MAX_PAIRS).expect("at the limit").resource.len(), MAX_PAIRS);
    assert!(resource(MAX_PAIRS + 1).is_err());
    let batch = |size: &str| of(&[("OTEL_BSP_MAX_QUEUE_SIZE", "10"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", size)]);
    assert!(batch("10").is_ok());
    assert!(batch("11").is_err());
}

#[test]
fn every_variable_has_a_row_in_the_documentation_and_no_row_is_left_over() {
    let variables = |text: &'static str, quote: char| {
        let names = text.split(quote).filter(|part| part.starts_with("OTEL_"));
        names.filter(|name| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
    };
    let read: BTreeSet<&str> = variables(include_str!("../config.rs"), '"').collect();
    let rows = include_str!("../../../docs/operating.md").lines().filter(|line| line.starts_with("| `OTEL_"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let documented: BTreeSet<&str> = cells.flat_map(|cell| variables(cell, '`')).collect();
    assert!(read.len() > 15, "{read:?}");
    assert_eq!(read, documented);
}
