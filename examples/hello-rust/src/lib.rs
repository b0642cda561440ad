//! An HTTP service: greets, echoes, and tells its environment and the time.

use std::time::{SystemTime, UNIX_EPOCH};

use refrain_sdk::http::{Method, StatusCode};
use refrain_sdk::{Failure, Handler, Request, Response, log, reply};

struct App;

impl Handler for App {
    async fn handle(request: Request) -> Result<Response, Failure> {
        log::info!("{} {}", request.method(), request.uri().path());
        match *request.method() {
            // The host sends no body to HEAD.
            Method::GET | Method::HEAD => page(&request),
            Method::POST => Ok(echo(request)),
            _ => Ok(reply::not_allowed("GET, HEAD, POST")),
        }
    }
}

refrain_sdk::serve!(App);

fn page(request: &Request) -> Result<Response, Failure> {
    Ok(match request.uri().path() {
        "/" => reply::text(greeting(request.uri().query())),
        "/env" => reply::text(environment(std::env::vars())),
        "/time" => reply::text(format!("{}\n", seconds(SystemTime::now())?)),
        _ => reply::status(StatusCode::NOT_FOUND),
    })
}

/// The body goes back as it comes in, however long it is.
fn echo(request: Request) -> Response {
    let (head, body) = request.into_parts();
    let mut response = Response::new(body);
    if let Some(media_type) = head.headers.get("content-type") {
        response.headers_mut().insert("content-type", media_type.clone());
    }
    response
}

/// `?name=` says whom.
fn greeting(query: Option<&str>) -> String {
    let mut parameters = query.unwrap_or_default().split('&');
    let name = parameters.find_map(|parameter| parameter.strip_prefix("name=")).filter(|name| !name.is_empty());
    format!("Hello, {}, from Rust!\n", name.unwrap_or("world"))
}

fn environment(variables: impl Iterator<Item = (String, String)>) -> String {
    let mut lines: Vec<String> = variables.map(|(name, value)| format!("{name}={value}\n")).collect();
    lines.sort_unstable();
    lines.concat()
}

fn seconds(now: SystemTime) -> Result<u64, Failure> {
    Ok(now.duration_since(UNIX_EPOCH)?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use refrain_sdk::{Body, http, run};

    fn answer(request: http::Request<Body>) -> (u16, String) {
        run(async {
            let response = App::handle(request).await.unwrap();
            (response.status().as_u16(), response.into_body().text(1 << 20).await.unwrap())
        })
    }

    fn get(target: &str) -> (u16, String) {
        answer(http::Request::get(target).body(Body::empty()).unwrap())
    }

    #[test]
    fn the_greeting_names_the_language_and_whom_it_is_told() {
        assert_eq!(get("/"), (200, "Hello, world, from Rust!\n".to_owned()));
        assert_eq!(get("/?a=b&name=Ada"), (200, "Hello, Ada, from Rust!\n".to_owned()));
        assert_eq!(get("/?name="), (200, "Hello, world, from Rust!\n".to_owned()));
    }

    #[test]
    fn head_is_answered_as_get_is_and_other_methods_are_told_what_there_is() {
        let head = http::Request::head("/").body(Body::empty()).unwrap();
        assert_eq!(answer(head), get("/"));
        let put = http::Request::put("/").body(Body::empty()).unwrap();
        let refused = run(App::handle(put)).unwrap();
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["allow"]),
            (405, &"GET, HEAD, POST".parse().unwrap())
        );
    }

    #[test]
    fn a_body_comes_back_as_it_was() {
        let text = "x".repeat(4097);
        let request = http::Request::post("/").body(Body::from(text.clone())).unwrap();
        assert_eq!(answer(request), (200, text));
    }

    #[test]
    fn the_environment_is_told_in_order() {
        let variables = [("B", "2"), ("A", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(environment(variables.into_iter()), "A=1\nB=2\n");
        assert_eq!(get("/env").0, 200);
    }

    #[test]
    fn the_time_is_in_seconds_and_other_paths_are_not_found() {
        assert!(get("/time").1.trim_end().parse::<u64>().is_ok());
        assert_eq!(get("/none"), (404, "404 Not Found\n".to_owned()));
    }
}
