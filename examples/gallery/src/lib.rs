//! A page of the pictures that the image server keeps. This component has no state at all: any instance of it, anywhere,
//! gives the same page, because what it shows is kept by a replicated server that it asks over HTTP.
//!
//! Pictures go through in pieces both ways, so none has to fit into this component's memory.

mod form;
mod listing;
mod page;
mod text;
mod upstream;

use refrain_sdk::http::header::{CONTENT_TYPE, LOCATION};
use refrain_sdk::http::{HeaderValue, Method, StatusCode};
use refrain_sdk::{Failure, Handler, Request, Response, reply};

/// Bytes of a form that says only a name.
const NAME_FORM_BYTES_MAX: usize = 4096;

struct Gallery;

impl Handler for Gallery {
    async fn handle(request: Request) -> Result<Response, Failure> {
        let prefix = std::env::var("PREFIX").unwrap_or_default();
        let path = request.uri().path().to_owned();
        let Some(path) = below(&path, &prefix) else {
            return Ok(redirect(StatusCode::PERMANENT_REDIRECT, &format!("{prefix}/")));
        };
        let home = format!("{prefix}/");
        match (request.method(), path) {
            (&Method::GET, "/") => home_page().await,
            (&Method::POST, "/upload") => upload(request, &home).await,
            (&Method::POST, "/delete") => delete(request, &home).await,
            (&Method::GET | &Method::HEAD, path) => match path.strip_prefix("/image/").and_then(text::name) {
                Some(name) => upstream::image(request, &name).await,
                None => Ok(reply::status(StatusCode::NOT_FOUND)),
            },
            _ => Ok(reply::status(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }
}

refrain_sdk::serve!(Gallery);

/// The path below the prefix; none for the prefix without its slash, from which relative links would lead elsewhere. A
/// front end that takes the prefix away is fine too.
fn below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    match path.strip_prefix(prefix) {
        Some("") if !prefix.is_empty() => None,
        Some(rest) if rest.starts_with('/') => Some(rest),
        _ => Some(path),
    }
}

async fn home_page() -> Result<Response, Failure> {
    let mut response = match upstream::listing().await {
        Ok(pictures) => reply::html(page::pictures(&pictures)),
        Err(why) => {
            refrain_sdk::log::warn!("no list of pictures: {why}");
            let mut response = reply::html(page::away(&upstream::address()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    };
    response.headers_mut().insert("content-security-policy", HeaderValue::from_static(page::POLICY));
    response.headers_mut().insert("cache-control", HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Stores the files of a form, one after the other, while they come in.
async fn upload(request: Request, home: &str) -> Result<Response, Failure> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let Some(boundary) = form::boundary(media_type) else {
        return Ok(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected a form of multipart/form-data"));
    };
    let mut parts = form::Parts::new(request.into_body(), &boundary);
    while let Some(part) = parts.next().await? {
        // A browser sends an empty one when no file was chosen.
        let Some(name) = part.filename.filter(|name| !name.is_empty()) else { continue };
        let Some(name) = text::name(&text::escape_url(&name)) else {
            return Ok(refused(StatusCode::BAD_REQUEST, "a picture's name has no slash, and no dot at its beginning"));
        };
        let status = upstream::store(&name, parts.contents()).await?;
        if !status.is_success() {
            return Ok(refused(status, "the image server does not take this picture"));
        }
    }
    Ok(redirect(StatusCode::SEE_OTHER, home))
}

async fn delete(request: Request, home: &str) -> Result<Response, Failure> {
    let form = request.into_body().text(NAME_FORM_BYTES_MAX).await?;
    let Some(name) = form.strip_prefix("name=").and_then(|name| text::name(&name.replace('+', "%20"))) else {
        return Ok(refused(StatusCode::BAD_REQUEST, "expected a form with a name"));
    };
    match upstream::delete(&name).await? {
        // Somebody was faster.
        status if status.is_success() || status == StatusCode::NOT_FOUND => Ok(redirect(StatusCode::SEE_OTHER, home)),
        status => Ok(refused(status, "the image server does not delete this picture")),
    }
}

fn redirect(status: StatusCode, to: &str) -> Response {
    let mut response = reply::status(status);
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn refused(status: StatusCode, why: &str) -> Response {
    let mut response = reply::text(format!("{why}\n"));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn the_prefix_may_be_there_or_taken_away() {
        for (path, expected) in [
            ("/gallery/", Some("/")),
            ("/gallery/image/a", Some("/image/a")),
            ("/gallery", None),
            ("/", Some("/")),
            ("/image/a", Some("/image/a")),
            ("/galleryx", Some("/galleryx")),
        ] {
            assert_eq!(below(path, "/gallery"), expected, "{path}");
        }
        assert_eq!(below("/", ""), Some("/"));
    }
}
