//! A stateless component and a replicated server side by side: the gallery makes a page of what the image server keeps.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use refrain_tests::http::{HttpClient, put, request};
use refrain_tests::native::{Example, examples_folder};
use refrain_tests::server::{Server, Site};
use refrain_tests::services::route;
use refrain_tests::tools::{chromium, installed};

/// Names as they stand in a page, as they stand in an address, and pictures that a browser can draw, 1 and 30 points
/// wide.
const PICTURES: [(&str, &str, &[u8]); 2] = [
    (
        "lake.gif",
        "lake.gif",
        b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\x00\x00\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\
        \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;",
    ),
    (
        "lake &amp; hill.svg",
        "lake%20%26%20hill.svg",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"30\" height=\"20\"><circle r=\"9\" fill=\"blue\"/></svg>",
    ),
];

/// The site of a server with the image server in three replicas, the gallery beside it and both pictures in it; and
/// where its front end is.
fn start(purpose: &str) -> Result<(Site, Server, SocketAddr)> {
    let mut site = Site::new(purpose)?;
    site.example(Example::ImageServer, |manifest| route(manifest, "/pictures/..."))?;
    site.argument("--http").argument("127.0.0.1:0");
    let server = site.start()?;
    let folder = gallery(&site.scratch().join("gallery"), server.address("image-server"))?;
    server.rctl_json(&["service", "deploy", &folder.display().to_string()])?;
    let status = server.rctl_json(&["status"])?;
    let url = status["http"]["listens"][0].as_str().and_then(|url| url.strip_prefix("http://"));
    let front: SocketAddr = url.with_context(|| format!("{status:#}"))?.parse()?;
    let mut client = HttpClient::connect(front)?;
    for (_, name, picture) in PICTURES {
        ensure!(client.exchange(put(&format!("/pictures/{name}"), picture))?.status == 201, "{name}");
    }
    Ok((site, server, front))
}

/// A copy of the example, which asks the image server where that listens here.
fn gallery(folder: &Path, images: SocketAddr) -> Result<PathBuf> {
    let example = examples_folder().join("gallery");
    let manifest = std::fs::read_to_string(example.join("service.toml"))?;
    let there = images.to_string();
    ensure!(manifest.matches("127.0.0.1:8080").count() == 2, "the example says where it asks, and that it may");
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("service.toml"), manifest.replace("127.0.0.1:8080", &there))?;
    std::fs::copy(example.join("gallery.wasm"), folder.join("gallery.wasm"))?;
    Ok(folder.to_owned())
}

/// The addresses of a page's pictures.
fn sources(page: &str) -> Vec<&str> {
    let images = page.split("<img ").skip(1);
    images.filter_map(|image| image.split_once("src=\"")?.1.split('"').next()).collect()
}

#[test]
fn the_gallery_names_the_pictures_of_the_image_server_beside_it_and_hands_out_their_bytes() -> Result<()> {
    let (_site, server, front) = start("gallery")?;
    let mut client = HttpClient::connect(front)?;
    let page = client.exchange(request("GET /gallery/", "", b""))?;
    let text = String::from_utf8_lossy(page.body());
    ensure!(page.status == 200 && text.contains("2 pictures"), "{} {text}", page.status);
    let mut shown = sources(&text);
    shown.sort_unstable();
    let mut expected = PICTURES.map(|(_, name, _)| format!("image/{name}"));
    expected.sort_unstable();
    ensure!(shown == expected, "{shown:?}");
    for (name, address, picture) in PICTURES {
        ensure!(text.contains(&format!("alt=\"{name}\"")), "{name} is not in {text}");
        let reply = client.exchange(request(&format!("GET /gallery/image/{address}"), "", b""))?;
        ensure!(reply.status == 200 && reply.body() == picture, "{name}: {}", String::from_utf8_lossy(&reply.bytes));
    }
    server.until_equal("image-server")?;
    server.terminate()
}

#[test]
fn a_browser_shows_the_gallery_beside_the_image_server_with_its_pictures() -> Result<()> {
    let Some(program) = installed("chromium")? else { return Ok(()) };
    let (site, server, front) = start("gallery-browser")?;
    let (profile, drawn) = (site.scratch().join("profile"), site.scratch().join("gallery.png"));
    let gallery = format!("http://{front}/gallery/");
    let dom = chromium(&program, &profile, &["--dump-dom"], &gallery)?;
    let shown = sources(&dom);
    ensure!(shown.len() == PICTURES.len() && dom.contains("<title>Gallery</title>"), "{dom}");
    chromium(&program, &profile, &[&format!("--screenshot={}", drawn.display())], &gallery)?;
    let png = std::fs::read(&drawn)?;
    ensure!(png.starts_with(b"\x89PNG") && png.len() > 1000, "no picture of the page");
    // Neither tells whether a picture was drawn: a page of ours with the same addresses says how wide each is.
    let images: String = shown.iter().map(|source| format!("<img src=\"{gallery}{source}\">")).collect();
    let script = "const widths = () => [...document.images].map((image) => image.naturalWidth); \
        onload = () => document.querySelector('p').append(widths())";
    let look = site.scratch().join("look.html");
    std::fs::write(&look, format!("<!doctype html><title>look</title>{images}<p></p><script>{script}</script>"))?;
    let dom = chromium(&program, &profile, &["--dump-dom"], &format!("file://{}", look.display()))?;
    ensure!(dom.contains("<p>1,30</p>") || dom.contains("<p>30,1</p>"), "{dom}");
    server.terminate()
}
