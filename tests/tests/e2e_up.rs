//! `refrain up` with the examples, as a newcomer uses it: what the native program answers, the replicated one does.

use anyhow::{Result, ensure};
use refrain_tests::echo::echo_scenario;
use refrain_tests::http::image_server_scenario;
use refrain_tests::native::{Example, NativeServer};
use refrain_tests::resp::kv_server_scenario;
use refrain_tests::server::Site;

#[test]
fn the_replicated_echo_answers_as_the_native_one() -> Result<()> {
    let native = NativeServer::start(Example::Echo)?;
    let server = Site::of("up-echo", &[Example::Echo])?.start()?;
    ensure!(echo_scenario(server.address("echo"))? == echo_scenario(native.address())?);
    Ok(())
}

#[test]
fn the_replicated_image_server_answers_byte_for_byte_as_the_native_one() -> Result<()> {
    let native = NativeServer::start(Example::ImageServer)?;
    let site = Site::of("up-images", &[Example::ImageServer])?;
    let server = site.start()?;
    let replicated = image_server_scenario(server.address("image-server"))?;
    ensure!(replicated == image_server_scenario(native.address())?);
    server.until_equal("image-server")?;
    Ok(())
}

#[test]
fn the_replicated_kv_server_answers_byte_for_byte_as_the_native_one() -> Result<()> {
    let native = NativeServer::start(Example::KvServer)?;
    let site = Site::of("up-kv", &[Example::KvServer])?;
    let server = site.start()?;
    ensure!(kv_server_scenario(server.address("kv-server"))? == kv_server_scenario(native.address())?);
    server.until_equal("kv-server")?;
    Ok(())
}
