//! The frame, the style and the thumbnails that all pages share.

use std::io::Cursor;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, imageops};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use relens_models::image_preprocessing::{decode_image, sides_by_longer};

/// A thumbnail's longer side.
const THUMBNAIL: u32 = 176;

const STYLE: &str = "
body{font:15px/1.5 system-ui,sans-serif;max-width:74rem;margin:2rem auto;padding:0 1rem;color:#222}
h1,h2,h3{line-height:1.2;font-weight:600}h2{margin-top:2.5rem;border-bottom:1px solid #ddd;padding-bottom:.3rem}
table{border-collapse:collapse;margin:1rem 0}th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid #eee}
th:first-child,td:first-child{text-align:left}th{font-weight:600}.interval{color:#777;font-size:.85em;white-space:nowrap}
.better{color:#00724f}.worse{color:#b34700}figure{display:inline-block;margin:0 1rem 1rem 0}
figcaption{font-weight:600}svg{max-width:100%;height:auto}.examples{display:grid;gap:1rem;
grid-template-columns:repeat(auto-fill,minmax(22rem,1fr))}.example{display:flex;gap:.8rem;align-items:flex-start}
.example img{border-radius:4px;flex:none}.ranks{font-weight:600}ins{background:#c9f0dd;text-decoration:none}
del{background:#fbd9c6}.rewrite{color:#444;font-size:.92em}details pre{background:#f6f6f6;padding:1rem;overflow:auto}
.note{color:#777}";

/// A whole page with this title and content.
pub(super) fn document(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}

/// The picture as a small JPEG inside of an address; nothing if it cannot be read: a page is worth having without it.
pub(super) fn thumbnail(path: &Path) -> Option<String> {
    let image = decode_image(path).inspect_err(|error| tracing::debug!("{error}")).ok()?;
    let (width, height) = sides_by_longer(&image, THUMBNAIL);
    let small = imageops::thumbnail(&image, width, height);
    let mut bytes = Cursor::new(Vec::new());
    small.write_to(&mut bytes, ImageFormat::Jpeg).ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes.get_ref())))
}
