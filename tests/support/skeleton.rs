//! What a page is made of, whatever its texts are.

/// What the page has of each element: its name and its attributes' names and, of those that a reader cannot see, their values.
pub(crate) fn skeleton(html: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut open: Vec<String> = Vec::new();
    let body = html.strip_prefix("<!doctype html>").unwrap();
    let (head, style) = body.split_once("<style>").unwrap();
    let body = format!("{head}{}", style.split_once("</style>").unwrap().1);
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap();
        assert!(!text.contains('>'), "{text:?}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "{piece:?}");
            continue;
        }
        let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let name = tag.split(' ').next().unwrap();
        assert!(ELEMENTS.split_whitespace().any(|one| one == name), "{tag}");
        let mut shape = name.to_owned();
        let mut rest = tag.strip_prefix(name).unwrap();
        while !rest.is_empty() {
            let (attribute, behind) = rest.strip_prefix(' ').unwrap().split_once("=\"").unwrap();
            let (value, behind) = behind.split_once('"').unwrap();
            assert!(ATTRIBUTES.split_whitespace().any(|one| one == attribute), "{tag}");
            shape += &format!(" {attribute}={value}");
            rest = behind;
        }
        if !is_empty && !["meta"].contains(&name) {
            open.push(name.to_owned());
        }
        tags.push(shape);
    }
    assert!(open.is_empty(), "{open:?}");
    tags
}

const ELEMENTS: &str = "html head meta title body section header footer figure figcaption div p span strong code a h1 h2 h3 ul ol li table \
    caption thead tbody tr th td svg desc path rect circle text";

const ATTRIBUTES: &str = "lang charset http-equiv content name id class aria-labelledby aria-hidden href scope role viewBox d x y width height \
    cx cy r preserveAspectRatio";
