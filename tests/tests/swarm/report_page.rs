//! Report pages in a real browser: without scripts and network, at several widths, in both colour schemes, printed, and
//! with hostile names.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use atq_api_spec::report::{Report, Verdict};
use atq_report::{compare::compare, page::html};
use atq_tests::browser::Browser;
use atq_tests::sample_reports::{
    baseline, hostile, judged, no_samples, one_sample, realistic, with_labels,
};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PROBE: &str = include_str!("report_page/probe.js");
const WIDTHS: [u32; 3] = [320, 768, 1280];
const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
const DARK: &str = "--blink-settings=preferredColorScheme=0";

/// The probe's measurements of a frame.
#[derive(Debug, Deserialize)]
struct Found {
    width: f64,
    needed: f64,
    title: String,
    scripts: usize,
    images: usize,
    contrast: Contrast,
    labels: Vec<String>,
    drawn: Vec<Drawn>,
    sorted: Option<Sorted>,
    pointed: Option<Vec<String>>,
    filtered: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Contrast {
    ratio: f64,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Drawn {
    id: String,
    /// Fraction of the plot's width that is drawn on.
    width: f64,
}

#[derive(Debug, Deserialize)]
struct Sorted {
    before: Vec<String>,
    most: Vec<String>,
    aria: String,
    least: Vec<String>,
    name: Vec<String>,
}

/// All pages, with their file names.
fn pages() -> Vec<(&'static str, Report)> {
    vec![
        ("plain", realistic()),
        ("compared", compared(realistic(), &baseline())),
        ("pass", judged(realistic(), Verdict::Pass)),
        ("invalid", judged(realistic(), Verdict::Invalid)),
        (
            "hostile",
            compared(hostile("http://127.0.0.1:9"), &baseline()),
        ),
        ("many", with_labels(60)),
        ("one", one_sample()),
        ("none", no_samples()),
    ]
}

fn compared(report: Report, baseline: &Report) -> Report {
    let mut report = judged(report, Verdict::Fail);
    report.comparison = Some(compare(&report, baseline));
    report
}

/// Loads these pages, each at each width, and returns the probe's measurements in that order, and the console.
async fn probe(
    browser: &Browser,
    pages: &[(&str, Report)],
    widths: &[u32],
    flag: &str,
    sandbox: &str,
) -> Result<(Vec<Found>, Vec<String>)> {
    let mut frames = String::new();
    for (name, report) in pages {
        browser.write(&format!("{name}.html"), &html(report))?;
        for width in widths {
            frames += &format!(
                "<iframe {sandbox} src=\"{name}.html\" width={width} height=700></iframe>\n"
            );
        }
    }
    let wrapper = format!(
        "<!doctype html><meta charset=utf-8><style>iframe{{border:0}}</style><script>{PROBE}</script><body>{frames}"
    );
    browser.write("wrapper.html", &wrapper)?;
    let page = browser.load("wrapper.html", &[flag]).await?;
    let (_, result) = page
        .dom
        .split_once("<pre id=\"result\">")
        .context("the probe did not run")?;
    let (result, _) = result
        .split_once("</pre>")
        .context("the result has no end")?;
    let bytes = percent_decoded(result)?;
    Ok((serde_json::from_slice(&bytes)?, page.console))
}

fn percent_decoded(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digits = std::str::from_utf8(after.get(..2).context("cut short")?)?;
            bytes.push(u8::from_str_radix(digits, 16)?);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    Ok(bytes)
}

/// No page is wider than the window, no axis labels overlap or are clipped, every text has the contrast required for
/// small text (4.5), and the console is empty.
#[tokio::test]
async fn pages_fit_and_are_readable_at_every_width_in_both_schemes() {
    let browser = Browser::new().unwrap();
    let pages = pages();
    for scheme in [LIGHT, DARK] {
        let (found, console) = probe(&browser, &pages, &WIDTHS, scheme, "").await.unwrap();
        assert!(console.is_empty(), "{console:?}");
        assert_eq!(found.len(), pages.len() * WIDTHS.len());
        for (found, (name, _)) in found
            .iter()
            .zip(pages.iter().flat_map(|page| [page; WIDTHS.len()]))
        {
            let at = format!("{name} at {} in {scheme}", found.width);
            assert!(found.needed <= found.width, "{at} needs {}", found.needed);
            assert!(found.labels.is_empty(), "{at}: {:?}", found.labels);
            assert!(found.contrast.ratio >= 4.5, "{at}: {:?}", found.contrast);
            assert_eq!((found.scripts, found.images), (1, 0), "{at}");
        }
    }
}

/// Verifies the probe itself.
#[tokio::test]
async fn the_probe_detects_a_bad_page() {
    let browser = Browser::new().unwrap();
    browser
        .write(
            "bad.html",
            "<!doctype html><div style='width:900px;color:#999;background:#fff'>pale</div>\
             <script>console.error('oh')</script>",
        )
        .unwrap();
    let wrapper = format!(
        "<!doctype html><script>{PROBE}</script><body><iframe src=bad.html width=320></iframe>"
    );
    browser.write("wrapper.html", &wrapper).unwrap();
    let page = browser.load("wrapper.html", &[LIGHT]).await.unwrap();
    let result = page.dom.split("<pre id=\"result\">").nth(1).unwrap();
    let result = percent_decoded(result.split("</pre>").next().unwrap()).unwrap();
    let found: Vec<Found> = serde_json::from_slice(&result).unwrap();
    assert!(found[0].needed > found[0].width);
    assert!(found[0].contrast.ratio < 4.5 && found[0].contrast.text == "pale");
    assert!(
        page.console.iter().any(|line| line.contains("oh")),
        "{:?}",
        page.console
    );
}

#[tokio::test]
async fn charts_are_drawn_without_scripts() {
    let browser = Browser::new().unwrap();
    // Scripts of the page are disabled; the probe runs outside of the frame.
    let (found, _) = probe(
        &browser,
        &[("plain", realistic())],
        &[768],
        LIGHT,
        "sandbox=\"allow-same-origin\"",
    )
    .await
    .unwrap();
    assert!(
        found[0].sorted.is_none() && found[0].pointed.is_none(),
        "a script ran"
    );
    let ids: Vec<_> = found[0]
        .drawn
        .iter()
        .map(|drawn| drawn.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "times-chart",
            "throughput-chart",
            "active-chart",
            "errors-chart",
            "percentile-chart"
        ]
    );
    for drawn in &found[0].drawn {
        assert!(drawn.width > 0.9, "{drawn:?}");
    }
}

#[tokio::test]
async fn clicks_sort_and_the_pointer_shows_values() {
    let browser = Browser::new().unwrap();
    let (found, _) = probe(
        &browser,
        &[("plain", realistic()), ("many", with_labels(60))],
        &[1280],
        LIGHT,
        "",
    )
    .await
    .unwrap();
    let report = realistic();
    let mut by_samples = report.labels.clone();
    by_samples.sort_by_key(|label| label.figures.samples);
    let names = |labels: &[atq_api_spec::report::NamedFigures]| -> Vec<String> {
        labels.iter().map(|label| label.name.clone()).collect()
    };
    let sorted = found[0].sorted.as_ref().unwrap();
    assert_eq!(sorted.before, names(&report.labels));
    assert_eq!(sorted.least, names(&by_samples));
    by_samples.reverse();
    assert_eq!(sorted.most, names(&by_samples));
    assert_eq!(sorted.aria, "descending");
    assert_eq!(sorted.name, names(&report.labels));

    let point = &report.series.points[10];
    let pointed = found[0].pointed.as_ref().unwrap();
    assert_eq!(pointed[1], format!("p50 {} ms", point.p50));
    assert_eq!(pointed[4], format!("p99 {} ms", point.p99));
    assert_eq!(pointed[5], "2026-11-21 10:00:10");

    assert_eq!((found[0].filtered, found[1].filtered), (None, Some(1)));
}

/// A server that counts requests. Connections alone do not count: a browser may open one speculatively, before it applies
/// the policy.
async fn canary() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&visits);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                if !matches!(stream.read(&mut [0; 1024]).await, Ok(1..)) {
                    return;
                }
                counted.fetch_add(1, Ordering::SeqCst);
                let response =
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(response.as_bytes()).await;
            });
        }
    });
    (address, visits)
}

#[tokio::test]
async fn hostile_names_run_no_script_and_send_no_request() {
    let browser = Browser::new().unwrap();
    let (address, visits) = canary().await;
    browser
        .write("hostile.html", &html(&hostile(&address)))
        .unwrap();
    let page = browser.load("hostile.html", &[]).await.unwrap();
    assert!(page.console.is_empty(), "{:?}", page.console);
    assert!(
        page.dom.contains("<title>Report of &lt;script&gt;"),
        "the title was changed"
    );
    assert_eq!(visits.load(Ordering::SeqCst), 0, "a request was sent");

    // Without escaping, the same markup does both.
    let raw = &hostile(&address).labels[2].name;
    browser
        .write("raw.html", &format!("<!doctype html><title>x</title>{raw}"))
        .unwrap();
    let page = browser.load("raw.html", &[]).await.unwrap();
    assert!(page.dom.contains("<title>injected</title>"), "{}", page.dom);
    assert_ne!(visits.load(Ordering::SeqCst), 0, "no request was sent");
}

/// Even if escaping failed, the content security policy would block requests.
#[tokio::test]
async fn the_policy_of_the_page_blocks_requests() {
    let browser = Browser::new().unwrap();
    let (address, visits) = canary().await;
    let leak = format!(
        "<img src=\"{address}/x.png\"><link rel=stylesheet href=\"{address}/x.css\">\
         <iframe src=\"{address}/y\"></iframe><main>"
    );
    let leaking = html(&realistic()).replacen("<main>", &leak, 1);
    browser.write("leak.html", &leaking).unwrap();
    let page = browser.load("leak.html", &[]).await.unwrap();
    assert!(page.dom.contains("/x.png"), "the leak is not in the page");
    assert_eq!(visits.load(Ordering::SeqCst), 0, "{:?}", page.console);

    // Without the policy, the requests are sent.
    let open = leaking.replacen("Content-Security-Policy", "nothing", 1);
    browser.write("open.html", &open).unwrap();
    browser.load("open.html", &[]).await.unwrap();
    assert_eq!(visits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn pages_can_be_printed() {
    let browser = Browser::new().unwrap();
    for (name, report, least, most) in [
        ("none", no_samples(), 1, 1),
        ("compared", compared(realistic(), &baseline()), 4, 9),
        ("many", with_labels(400), 8, 40),
    ] {
        browser
            .write(&format!("{name}.html"), &html(&report))
            .unwrap();
        let pdf = browser.print(&format!("{name}.html")).await.unwrap();
        let pages = page_count(&pdf);
        assert!((least..=most).contains(&pages), "{name} has {pages} pages");
    }
}

/// Number of page objects in a PDF; `/Type /Pages` is their list.
fn page_count(pdf: &[u8]) -> usize {
    String::from_utf8_lossy(pdf)
        .split("/Type /Page")
        .skip(1)
        .filter(|rest| !rest.starts_with('s'))
        .count()
}

/// A page with two thousand labels and their comparison opens.
#[tokio::test]
async fn two_thousand_labels_can_be_shown() {
    let browser = Browser::new().unwrap();
    let page = html(&with_labels(2000));
    assert!(page.len() < 2_000_000, "{}", page.len());
    let many = compared(with_labels(2000), &with_labels(1990));
    let (found, _) = probe(&browser, &[("many", many)], &[320], LIGHT, "")
        .await
        .unwrap();
    assert!(found[0].needed <= found[0].width);
    assert_eq!(found[0].filtered, Some(1));
    assert_eq!(found[0].title, "Report of checkout-black-friday");
}
