//! A large upload, from the first byte to the response, compared with writing the same file with `dd conv=fsync` and
//! unpacking it with `unzip`.

use crate::director;
use crate::table::{Row, say};
use anyhow::{Context, Result, ensure};
use atq_tests::director::Director;
use atq_tests::stats::median;
use futures_util::stream;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

const RATIO_LIMIT: f64 = 0.7;
const MEMORY_LIMIT: f64 = 32.0;
/// Entries of the archive; every other one is incompressible.
const ENTRIES: u64 = 32;
/// Size of a sent chunk.
const CHUNK: usize = 256 * 1024;

/// Measures `rounds` uploads of a zip of about `megabytes`.
///
/// # Errors
/// When the upload is rejected or a tool of the other side fails.
pub async fn measure(megabytes: u64, rounds: usize) -> Result<Vec<Row>> {
    let dir = director::temp_dir()?;
    let zip = dir.path().join("bundle.zip");
    let unpacked = tokio::task::spawn_blocking({
        let zip = zip.clone();
        move || generate(&zip, megabytes)
    })
    .await??;
    let size = std::fs::metadata(&zip)?.len();
    say(format!(
        "zip of {} MB, {} MB unpacked, half of it random",
        size / 1_000_000,
        unpacked / 1_000_000
    ));
    let (mut times, mut baselines, mut peak, mut tool) = (Vec::new(), Vec::new(), 0.0_f64, "");
    for round in 0..rounds {
        let (seconds, memory) = upload(dir.path(), &zip).await?;
        peak = peak.max(memory);
        let (baseline, by) = plain_copy(dir.path(), &zip).await?;
        tool = by;
        say(format!(
            "upload round {}: Director {seconds:.2} s, peak {memory:.1} MiB; dd and {by} {baseline:.2} s",
            round + 1
        ));
        times.push(seconds);
        baselines.push(baseline);
    }
    let (ours, theirs) = (median(&times), median(&baselines));
    let rate = theirs / ours;
    Ok(vec![
        Row::with_limit(
            format!("upload of {} MB", size / 1_000_000),
            format!(
                "{ours:.2} s ({:.0} MB/s); dd conv=fsync and {tool} {theirs:.2} s; speed ratio {rate:.2} (n={rounds})",
                size as f64 / 1e6 / ours
            ),
            ">= 0.7",
            rate >= RATIO_LIMIT,
        )
        .print(),
        Row::with_limit("peak memory of that upload", format!("{peak:.1} MiB"), "<= 32 MiB", peak <= MEMORY_LIMIT).print(),
    ])
}

/// Uploads the zip to a new Director and returns the seconds until the response and the Director's peak memory. A reused
/// Director would already have the bundle, and its peak memory never decreases.
async fn upload(dir: &Path, zip: &Path) -> Result<(f64, f64)> {
    flush().await?;
    let data = dir.join("director");
    let director = director::start(&data, "").await?;
    let begun = Instant::now();
    send(&director, zip).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let peak = director::memory(director.pid(), "VmHWM")?;
    director.terminate()?;
    std::fs::remove_dir_all(&data)?;
    Ok((seconds, peak))
}

async fn send(director: &Director, zip: &Path) -> Result<()> {
    let size = std::fs::metadata(zip)?.len();
    let file = tokio::fs::File::open(zip).await?;
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk).await?;
        chunk.truncate(length);
        Ok::<_, std::io::Error>((length > 0).then_some((chunk, file)))
    });
    let body = reqwest::Body::wrap_stream(chunks);
    let part = reqwest::multipart::Part::stream_with_length(body, size).file_name("bundle.zip");
    let form = reqwest::multipart::Form::new().part("file", part);
    let http = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("{}/api/databind/upload", director.client.url);
    let response = http
        .post(&url)
        .multipart(form)
        .send()
        .await
        .context("POST /databind/upload")?;
    let status = response.status();
    let body = response.text().await?;
    ensure!(
        status.is_success(),
        "the upload was rejected: {status}: {body}"
    );
    Ok(())
}

async fn plain_copy(dir: &Path, zip: &Path) -> Result<(f64, &'static str)> {
    flush().await?;
    let copy = dir.join("copy.zip");
    let (from, to) = (
        format!("if={}", zip.display()),
        format!("of={}", copy.display()),
    );
    let into = dir.join("unzipped");
    let begun = Instant::now();
    run(Command::new("dd").args([from.as_str(), to.as_str(), "bs=1M", "conv=fsync"])).await?;
    let tool = match run(Command::new("unzip")
        .arg("-q")
        .arg(&copy)
        .arg("-d")
        .arg(&into))
    .await
    {
        Ok(()) => "unzip",
        Err(error) if error.downcast_ref::<std::io::Error>().is_some() => {
            run(Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(&copy)
                .arg(&into))
            .await?;
            "python3 -m zipfile"
        }
        Err(error) => return Err(error),
    };
    let seconds = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&copy)?;
    std::fs::remove_dir_all(&into)?;
    Ok((seconds, tool))
}

/// Flushes the kernel's buffers, so that one side does not slow the other down.
async fn flush() -> Result<()> {
    run(&mut Command::new("sync")).await
}

async fn run(command: &mut Command) -> Result<()> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{:?}: {}: {}",
        command.as_std(),
        output.status,
        why.trim()
    );
    Ok(())
}

/// Writes an archive with a packed size of about `megabytes` and returns its unpacked size in bytes. Every other entry is
/// random, the others are text that compresses to about half.
fn generate(path: &Path, megabytes: u64) -> Result<u64> {
    let mut writer = zip::ZipWriter::new(BufWriter::with_capacity(1 << 20, File::create(path)?));
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(3));
    let each = megabytes * 1_000_000 / ENTRIES;
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut unpacked = 0;
    for entry in 0..ENTRIES {
        let text = entry % 2 == 1;
        writer.start_file(
            format!("data/{entry:02}.{}", if text { "txt" } else { "bin" }),
            options,
        )?;
        let length = if text { each * 2 } else { each };
        fill(&mut writer, &mut random, length, text)?;
        unpacked += length;
    }
    writer
        .finish()?
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?
        .sync_all()?;
    Ok(unpacked)
}

fn fill(writer: &mut impl Write, random: &mut Random, length: u64, text: bool) -> Result<()> {
    let mut block = vec![0; 64 * 1024];
    let mut remaining = length;
    while remaining > 0 {
        for eight in block.chunks_exact_mut(8) {
            let mut bytes = random.next().to_le_bytes();
            if text {
                // 16 of 256 values: four of eight bits carry information.
                bytes = bytes.map(|byte| b'a' + (byte & 0x0f));
            }
            eight.copy_from_slice(&bytes);
        }
        let now = usize::try_from(remaining).map_or(block.len(), |bytes| bytes.min(block.len()));
        writer.write_all(&block[..now])?;
        remaining -= now as u64;
    }
    Ok(())
}

/// A fast xorshift generator whose output is incompressible.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
