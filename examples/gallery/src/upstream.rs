//! What is asked of the image server, whose address `IMAGES` says.

use refrain_sdk::http::{self, HeaderValue, Method, StatusCode, header};
use refrain_sdk::{Body, Failure, Request, Response, client};

use crate::listing::{self, Picture};
use crate::text;

/// Bytes of the image server's page: room for its ten thousand files.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Headers of a picture that are handed on, to and from the image server.
const ASKED: [header::HeaderName; 1] = [header::RANGE];
const ANSWERED: [header::HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_RANGE, header::ACCEPT_RANGES];

pub fn address() -> String {
    std::env::var("IMAGES").unwrap_or_else(|_| "http://127.0.0.1:8080".to_owned())
}

fn url(name: &str) -> String {
    format!("{}/{}", address(), text::escape_url(name))
}

/// All pictures.
pub async fn listing() -> Result<Vec<Picture>, Failure> {
    let response = client::send(http::Request::get(url("")).body(())?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the image server answers {}", response.status()).into());
    }
    Ok(listing::read(&response.into_body().text(PAGE_BYTES_MAX).await?))
}

/// One picture, or a part of it, as it comes in.
pub async fn image(request: Request, name: &str) -> Result<Response, Failure> {
    let mut asked = http::Request::builder().method(request.method().clone()).uri(url(name)).body(())?;
    for header in ASKED {
        if let Some(value) = request.headers().get(&header) {
            asked.headers_mut().insert(header, value.clone());
        }
    }
    let (head, body) = client::send(asked).await?.into_parts();
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    // The answer to HEAD has the length of a body that does not come, which a host would take for one that broke off.
    let answered =
        ANSWERED.into_iter().filter(|name| request.method() == Method::GET || name != header::CONTENT_LENGTH);
    for header in answered {
        if let Some(value) = head.headers.get(&header) {
            response.headers_mut().insert(header, value.clone());
        }
    }
    // Whatever was uploaded, it is a picture and no page of this site.
    let headers = response.headers_mut();
    headers.insert(
        "content-security-policy",
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox"),
    );
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Stores a picture while it comes in.
pub async fn store(name: &str, contents: Body) -> Result<StatusCode, Failure> {
    Ok(client::send(http::Request::put(url(name)).body(contents)?).await?.status())
}

pub async fn delete(name: &str) -> Result<StatusCode, Failure> {
    Ok(client::send(http::Request::delete(url(name)).body(())?).await?.status())
}
