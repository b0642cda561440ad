//! Requests and responses of well-behaved guests, of both versions.

mod support;

use http::StatusCode;
use refrain_http_host::Limits;
use support::{P2, P3, get, read, service, text};

#[tokio::test]
async fn a_component_of_0_2_answers() {
    let service = service(P2, Limits::default());
    let response = service.handle(get("/")).await.expect("a response");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(read(response).await.expect("a whole body"), "hello, world\n");
}

#[tokio::test]
async fn a_component_of_0_3_answers() {
    let service = service(P3, Limits::default());
    assert_eq!(text(&service, "/").await.expect("a response"), "hello, world\n");
}
