//! Runs the emulator: `cargo run --example serve -- 127.0.0.1:10000 [data-dir]`.

use pageferry_emulator::{Emulator, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:10000".into()).parse()?;
    let data_dir = arguments.next().map(Into::into);
    let running = Emulator::start(Options { listen, data_dir, ..Options::default() }).await?;
    eprintln!("listening on {}", running.url());
    std::future::pending::<()>().await;
    Ok(())
}
