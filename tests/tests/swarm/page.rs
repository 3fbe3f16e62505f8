//! Pages of reports in a real browser: whole without scripts and network, at every width, in both colour
//! schemes, printed, and whatever names say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use atq_api_spec::report::{Report, Verdict};
use atq_report::{compare::compare, page::html};
use atq_tests::browser::Browser;
use atq_tests::pages::{baseline, hostile, judged, no_samples, one_sample, realistic, with_labels};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PROBE: &str = include_str!("page/probe.js");
const WIDTHS: [u32; 3] = [320, 768, 1280];
const LIGHT: &str = "--blink-settings=preferredColorScheme=1";
const DARK: &str = "--blink-settings=preferredColorScheme=0";

/// What the probe finds out about a frame.
#[derive(Debug, Deserialize)]
struct Found {
    width: f64,
    needed: f64,
    title: String,
    scripts: usize,
    images: usize,
    contrast: Contrast,
    words: Vec<String>,
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
    /// Share of the plot's width that is drawn on.
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

/// Every page, with a name of a file for it.
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

/// Shows these pages, each at each width, and gives what the probe found in that order.
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
    let look = browser.look("wrapper.html", &[flag]).await?;
    let (_, result) = look
        .dom
        .split_once("<pre id=\"result\">")
        .context("the probe did not run")?;
    let (result, _) = result
        .split_once("</pre>")
        .context("the result has no end")?;
    let bytes = percent_decoded(result)?;
    Ok((serde_json::from_slice(&bytes)?, look.console))
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

/// No page is wider than the window, no words of an axis lie on each other or outside, every text has the
/// contrast that is asked of small print (4.5), and nothing is said on the console.
#[tokio::test]
async fn pages_fit_and_can_be_read_at_every_width_in_both_schemes() {
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
            assert!(found.words.is_empty(), "{at}: {:?}", found.words);
            assert!(found.contrast.ratio >= 4.5, "{at}: {:?}", found.contrast);
            assert_eq!((found.scripts, found.images), (1, 0), "{at}");
        }
    }
}

/// The probe itself finds what it looks for.
#[tokio::test]
async fn a_bad_page_is_found_out() {
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
    let look = browser.look("wrapper.html", &[LIGHT]).await.unwrap();
    let result = look.dom.split("<pre id=\"result\">").nth(1).unwrap();
    let result = percent_decoded(result.split("</pre>").next().unwrap()).unwrap();
    let found: Vec<Found> = serde_json::from_slice(&result).unwrap();
    assert!(found[0].needed > found[0].width);
    assert!(found[0].contrast.ratio < 4.5 && found[0].contrast.text == "pale");
    assert!(
        look.console.iter().any(|line| line.contains("oh")),
        "{:?}",
        look.console
    );
}

#[tokio::test]
async fn charts_are_drawn_without_scripts() {
    let browser = Browser::new().unwrap();
    // Scripts of the page are off; the probe stands outside of it.
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
async fn a_click_sorts_and_a_pointer_reads_out() {
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

/// Counts who comes to ask for something. A connection alone asks for nothing: a browser may open one ahead of
/// time, before the policy is applied to what it is for.
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
                let answer =
                    "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, visits)
}

#[tokio::test]
async fn names_run_no_script_and_ask_nobody() {
    let browser = Browser::new().unwrap();
    let (address, visits) = canary().await;
    browser
        .write("hostile.html", &html(&hostile(&address)))
        .unwrap();
    let look = browser.look("hostile.html", &[]).await.unwrap();
    assert!(look.console.is_empty(), "{:?}", look.console);
    assert!(
        look.dom.contains("<title>Report of &lt;script&gt;"),
        "the title is not that of the page"
    );
    assert_eq!(visits.load(Ordering::SeqCst), 0, "somebody asked");

    // The same markup in a page that does not escape it does both.
    let raw = &hostile(&address).labels[2].name;
    browser
        .write("raw.html", &format!("<!doctype html><title>x</title>{raw}"))
        .unwrap();
    let look = browser.look("raw.html", &[]).await.unwrap();
    assert!(look.dom.contains("<title>injected</title>"), "{}", look.dom);
    assert_ne!(visits.load(Ordering::SeqCst), 0, "nobody asked");
}

/// Were a name to get out, the policy would still hold it back from the network.
#[tokio::test]
async fn the_policy_of_the_page_forbids_loading() {
    let browser = Browser::new().unwrap();
    let (address, visits) = canary().await;
    let leak = format!(
        "<img src=\"{address}/x.png\"><link rel=stylesheet href=\"{address}/x.css\">\
         <iframe src=\"{address}/y\"></iframe><main>"
    );
    let page = html(&realistic()).replacen("<main>", &leak, 1);
    browser.write("leak.html", &page).unwrap();
    let look = browser.look("leak.html", &[]).await.unwrap();
    assert!(look.dom.contains("/x.png"), "the leak is not in the page");
    assert_eq!(visits.load(Ordering::SeqCst), 0, "{:?}", look.console);

    // It is the policy that does it.
    let open = page.replacen("Content-Security-Policy", "nothing", 1);
    browser.write("open.html", &open).unwrap();
    browser.look("open.html", &[]).await.unwrap();
    assert_eq!(visits.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn it_prints() {
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
        let pages = pages_of(&pdf);
        assert!((least..=most).contains(&pages), "{name} has {pages} pages");
    }
}

/// Objects that are a page; `/Type /Pages` is their list.
fn pages_of(pdf: &[u8]) -> usize {
    String::from_utf8_lossy(pdf)
        .split("/Type /Page")
        .skip(1)
        .filter(|rest| !rest.starts_with('s'))
        .count()
}

/// Two thousand labels are a page that opens, with the comparison of them all.
#[tokio::test]
async fn two_thousand_labels_can_be_looked_at() {
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
