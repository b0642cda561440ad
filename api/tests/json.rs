//! The JSON of the API is fixed: golden texts, and what happens with words of a later version.

use refrain_api::{
    Appended, CorruptReplica, ErrorBody, ErrorCode, GuestLines, HttpDetail, KillReplica, PreparationStep, SeatState,
    ServiceDetail, Status, UpgradeState, UpgradeStatus,
};

#[test]
fn the_status_is_golden() {
    let golden = include_str!("status.json");
    let status: Status = serde_json::from_str(golden).unwrap();
    assert_eq!(format!("{}\n", serde_json::to_string_pretty(&status).unwrap()), golden);
}

#[test]
fn the_description_of_a_service_is_golden() {
    let golden = include_str!("service.json");
    let detail: ServiceDetail = serde_json::from_str(golden).unwrap();
    assert_eq!(format!("{}\n", serde_json::to_string_pretty(&detail).unwrap()), golden);
}

#[test]
fn the_description_of_a_stateless_service_is_golden() {
    let golden = include_str!("http-service.json");
    let detail: HttpDetail = serde_json::from_str(golden).unwrap();
    assert_eq!(format!("{}\n", serde_json::to_string_pretty(&detail).unwrap()), golden);
}

#[test]
fn lines_of_a_guest_are_golden() {
    let golden = r#"{"node":1,"lines":[{"number":4,"position":7,"time_micros":9,"stream":"err","line":"x"}],"next":4,"missed":3}"#;
    let lines: GuestLines = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&lines).unwrap(), golden);
}

#[test]
fn a_status_of_a_server_without_readiness_and_protocols_is_read() {
    let mut status: serde_json::Value = serde_json::from_str(include_str!("status.json")).unwrap();
    let service = status["services"][0].as_object_mut().unwrap();
    service.remove("ready");
    service["ports"][0].as_object_mut().unwrap().remove("protocol");
    let status: Status = serde_json::from_value(status).unwrap();
    assert_eq!((status.services[0].ready.ready, status.services[0].ports[0].protocol.as_str()), (false, "tcp"));
}

#[test]
fn requests_and_answers_are_golden() {
    let corrupt = |address, bit| serde_json::to_string(&CorruptReplica { seat: 1, address, bit }).unwrap();
    assert_eq!(corrupt(None, None), r#"{"seat":1}"#);
    assert_eq!(corrupt(Some(4096), Some(7)), r#"{"seat":1,"address":4096,"bit":7}"#);
    assert_eq!(serde_json::to_string(&KillReplica { seat: 2 }).unwrap(), r#"{"seat":2}"#);
    assert_eq!(serde_json::from_str::<Appended>(r#"{"position":9}"#).unwrap(), Appended { position: 9 });
}

#[test]
fn an_upgrade_is_golden() {
    let golden = r#"{"service":"a/b","from":"a/b@1","to":"a/b@2","bundle":"00","state":"rolled-back","position":7,"#
        .to_owned()
        + r#""reason":"it ended","engines":[{"node":2,"step":"compiling","reason":null}]}"#;
    let status: UpgradeStatus = serde_json::from_str(&golden).unwrap();
    assert_eq!((status.state, status.engines[0].step), (UpgradeState::RolledBack, PreparationStep::Compiling));
    assert_eq!(serde_json::to_string(&status).unwrap(), golden);
    let later = golden.replace("rolled-back", "dreaming");
    assert_eq!(serde_json::from_str::<UpgradeStatus>(&later).unwrap().state, UpgradeState::Unknown);
}

#[test]
fn a_request_with_an_unknown_field_is_refused() {
    assert!(serde_json::from_str::<KillReplica>(r#"{"seat":1,"sleep":2}"#).is_err());
}

#[test]
fn every_error_code_has_its_word_and_an_error_status() {
    for code in ErrorCode::ALL {
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(json, format!("\"{code}\""));
        assert_eq!(serde_json::from_str::<ErrorCode>(&json).unwrap(), *code);
        assert!((400..600).contains(&code.http_status()), "{code}");
    }
}

#[test]
fn words_of_a_later_version_are_read_as_unknown() {
    assert_eq!(serde_json::from_str::<SeatState>("\"dreaming\"").unwrap(), SeatState::Unknown);
    let body: ErrorBody = serde_json::from_str(r#"{"code":"new","message":"m","more":1}"#).unwrap();
    assert_eq!((body.code, body.message.as_str()), (ErrorCode::Unknown, "m"));
}
