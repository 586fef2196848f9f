//! The page in a real browser: Chromium without a screen. Skipped, with a message, where it is not installed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod driver;
#[path = "../interface/world.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod world;

use driver::Browser;
use serde_json::Value;
use tokio::sync::oneshot;
use world::World;

/// WebDriver's code of a key without a letter.
const ARROW_RIGHT: &str = "\u{e014}";
const ENTER: &str = "\u{e007}";
const ESCAPE: &str = "\u{e00c}";

/// Opens the page of `world` in a browser and runs `steps` with it.
async fn with_page(world: World, steps: impl AsyncFnOnce(&Browser, &str)) {
    let Some(browser) = Browser::start().await else { return };
    let listener = world.server.bind().await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served =
        tokio::spawn(
            async move { world.server.serve(listener, async { stopped.await.unwrap_or(()) }).await },
        );
    browser.resize(1280, 900).await;
    browser.open(&address).await;
    browser.until("document.getElementById('status').textContent.includes('pictures')").await;
    steps(&browser, &address).await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.end().await;
    stop.send(()).unwrap();
    served.await.unwrap().unwrap();
}

/// The ids of the pictures that are shown, in order.
async fn shown(browser: &Browser) -> Vec<Value> {
    let ids =
        browser.run("return [...document.querySelectorAll('.tile')].map((tile) => tile.dataset.id)").await;
    ids.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_searches_and_the_address_holds_what_was_searched_for() {
    with_page(World::new(), async |browser, address| {
        browser.write("#query", "a pooch in the snow").await;
        browser.until("document.querySelectorAll('.tile').length > 10").await;
        browser.until("location.search.includes('pooch')").await;
        browser.until("document.querySelector('.touched')?.textContent === 'pooch'").await;
        browser
            .until("[...document.querySelectorAll('.tile img')].some((image) => image.naturalWidth > 50)")
            .await;
        browser.screenshot("search-light.png").await;
        browser.prefer("dark").await;
        browser.screenshot("search-dark.png").await;
        browser.resize(390, 844).await;
        browser.until("document.documentElement.scrollWidth <= 390").await;
        browser.screenshot("search-phone.png").await;
        let before = shown(browser).await;
        browser.open(&format!("{address}/?q=a+pooch+in+the+snow")).await;
        browser.until("document.querySelectorAll('.tile').length > 10").await;
        assert_eq!(shown(browser).await, before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_touched_word_can_be_left_alone_or_taught_and_the_ranking_moves() {
    with_page(World::new(), async |browser, _| {
        browser.write("#query", "a pooch on grass").await;
        browser.click(".touched").await;
        browser.until("document.querySelector('dialog li')?.textContent.includes('became')").await;
        browser.screenshot("why-a-word.png").await;
        browser.click("dialog .primary").await;
        browser
            .until("document.querySelector('.touched.off') && location.search.includes('keep=pooch')")
            .await;
        browser.click(".touched.off").await;
        browser.click("dialog > .bar:last-child button:last-child").await;
        browser.until("document.querySelector('dialog textarea')").await;
        browser.write("dialog textarea", "lighthouse").await;
        browser.screenshot("teach-a-word.png").await;
        browser.click("dialog .primary").await;
        browser.until("!document.querySelector('dialog')").await;
        browser.click(".touched.off").await;
        browser.click("dialog .primary").await;
        browser
            .until("document.querySelector('#rewrite .sent')?.parentNode.textContent.includes('lighthouse')")
            .await;
        browser.until("document.querySelector('.moved.rise')").await;
        browser.screenshot("moved.png").await;
        browser.click("#knowledge").await;
        browser.click("dialog .tabs button:last-child").await;
        browser.click("dialog .rows button").await;
        browser.until("!document.querySelector('#rewrite').textContent.includes('lighthouse')").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_lead_through_the_pictures_and_into_them() {
    with_page(World::new(), async |browser, _| {
        browser.write("#query", "an animal").await;
        browser.until("document.querySelectorAll('.tile').length > 10").await;
        browser.until("location.search.includes('animal')").await;
        browser.press(ENTER).await;
        browser.until("document.activeElement === document.querySelectorAll('.tile .open')[0]").await;
        browser.press(ARROW_RIGHT).await;
        browser.until("document.activeElement === document.querySelectorAll('.tile .open')[1]").await;
        browser.press(ENTER).await;
        browser.until("document.querySelector('dialog .picture')?.naturalWidth > 100").await;
        browser.press("h").await;
        browser.until("document.querySelector('dialog figure img')?.naturalWidth > 100").await;
        browser.screenshot("heat.png").await;
        browser.press(ARROW_RIGHT).await;
        browser.until("document.querySelector('dialog .note').textContent.startsWith('Number 3')").await;
        browser.press(ESCAPE).await;
        browser.until("!document.querySelector('dialog')").await;
        browser.until("document.activeElement === document.querySelectorAll('.tile .open')[2]").await;
        let before = shown(browser).await;
        browser.press("r").await;
        browser.until("document.querySelector('.tile.right')").await;
        browser.until(&format!("document.querySelector('.tile')?.dataset.id === {}", before[2])).await;
        browser.press("/").await;
        browser.until("document.activeElement.id === 'query'").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_and_after_stand_side_by_side_and_more_like_this_is_one_click() {
    with_page(World::new(), async |browser, _| {
        browser.write("#query", "a pooch").await;
        browser.click("#compare").await;
        browser.until("document.querySelectorAll('.columns section .tile').length > 20").await;
        browser.until("document.querySelector('.columns .moved')").await;
        browser.screenshot("compare.png").await;
        browser.click("#compare").await;
        browser
            .until("!document.querySelector('.columns') && document.querySelectorAll('.tile').length > 10")
            .await;
        let first = shown(browser).await[0].clone();
        browser.run("document.querySelector('.tile .actions button:last-child').click()").await;
        browser.until(&format!("location.search === '?like=' + {first}")).await;
        browser.until("document.querySelector('.chip img')").await;
        browser.run("history.back()").await;
        browser.until("document.getElementById('query').value === 'a pooch'").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_the_line_and_selected_pictures() {
    with_page(World::new(), async |browser, address| {
        browser.write("#query", "an x-ray of a hand").await;
        browser.until("document.querySelector('.line.first')").await;
        browser.click("#filtering").await;
        let before =
            "const field = document.getElementById('filters').elements.before; field.value = '1950-01-01';
            field.dispatchEvent(new Event('change', { bubbles: true }));";
        browser.run(before).await;
        browser.until("location.search.includes('before=1950-01-01')").await;
        browser
            .until("document.getElementById('status').textContent.startsWith('There are no such pictures')")
            .await;
        browser.screenshot("filters.png").await;
        browser.click("#filters [type=reset]").await;
        browser
            .until("!location.search.includes('before') && document.querySelectorAll('.tile').length > 10")
            .await;
        browser.open(&format!("{address}/?q=a+cat+-in%3Anowhere")).await;
        browser.until("document.querySelectorAll('.tile').length > 10").await;
        let select = "const open = document.querySelectorAll('.tile .open');
            open[1].dispatchEvent(new MouseEvent('click', { bubbles: true, ctrlKey: true }));
            open[3].dispatchEvent(new MouseEvent('click', { bubbles: true, shiftKey: true }));";
        browser.run(select).await;
        browser.until("document.querySelector('.chosen').textContent.startsWith('3 selected')").await;
        browser.screenshot("selected.png").await;
        let fetch = "const answer = await fetch(document.querySelector('.chosen a').href);
            return answer.headers.get('content-type');";
        assert_eq!(browser.run(fetch).await, "application/zip");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_can_be_pasted_and_hostile_names_stay_text() {
    let directory = tempfile::tempdir().unwrap();
    let pictures = directory.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let name = "<img src=x onerror=alert(1)>\"'&amp;.png";
    image::RgbImage::from_pixel(64, 48, image::Rgb([220, 30, 30])).save(pictures.join(name)).unwrap();
    image::RgbImage::from_pixel(64, 48, image::Rgb([30, 30, 220])).save(pictures.join("blue.png")).unwrap();
    let library = directory.path().join("library");
    world::fill(&library, &pictures);
    with_page(World::with(|config| config.library = library), async |browser, _| {
        browser.write("#query", "<script>alert(1)</script><b>red</b>").await;
        browser.until("document.querySelectorAll('.tile').length === 2").await;
        let strange = "document.querySelectorAll('main script, main b, #rewrite script, #rewrite b, img[src=\"x\"]').length";
        assert_eq!(browser.run(&format!("return {strange}")).await, 0);
        browser.until("[...document.querySelectorAll('.tile img')].some((image) => image.alt.startsWith('<img src=x'))").await;
        let paste = "const canvas = document.createElement('canvas'); canvas.width = 64; canvas.height = 48;
            const context = canvas.getContext('2d'); context.fillStyle = 'rgb(220,30,30)'; context.fillRect(0, 0, 64, 48);
            const blob = await new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
            const data = new DataTransfer(); data.items.add(new File([blob], '<b>x</b>.png', { type: 'image/png' }));
            window.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));";
        browser.run(paste).await;
        browser.until("document.querySelector('.chip')").await;
        browser.until("document.querySelector('.tile img')?.alt.startsWith('<img src=x')").await;
        let broken = "const data = new DataTransfer(); data.items.add(new File(['no picture'], '<b>x</b>.png', { type: 'image/png' }));
            window.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }));";
        browser.run(broken).await;
        browser.until("document.getElementById('status').textContent.includes('<b>x</b>.png')").await;
        assert_eq!(browser.run(&format!("return {strange}")).await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_a_key_asks_for_it_once() {
    let Some(browser) = Browser::start().await else { return };
    let world = World::with(|config| config.api_key = Some("correct-horse-battery".to_owned()));
    let listener = world.server.bind().await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { world.server.serve(listener, std::future::pending()).await });
    browser.open(&address).await;
    browser.write("dialog input", "wrong").await;
    browser.click("dialog .primary").await;
    browser.until("document.querySelector('dialog [role=alert]').textContent !== ''").await;
    browser.write("dialog input", "correct-horse-battery").await;
    browser.click("dialog .primary").await;
    browser.until("document.getElementById('status').textContent.includes('pictures')").await;
    browser.open(&format!("{address}/api")).await;
    browser.until("document.querySelectorAll('.operation').length > 15").await;
    browser.screenshot("api.png").await;
    browser.end().await;
}
