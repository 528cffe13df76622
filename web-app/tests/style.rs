//! The style sheets hold no rules for what the page does not have.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable").flatten().map(|entry| entry.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let wanted = files.into_iter().filter(|file| file.extension().is_some_and(|is| is == extension));
    wanted.chain(folders.iter().flat_map(|inner| self::files(inner, extension))).collect()
}

fn texts(folder: &str, extension: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    files(&folder, extension).iter().map(|file| fs::read_to_string(file).expect("readable")).collect()
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-' || letter == '_'
}

/// Names of the classes in selectors, which stand in front of braces.
fn classes(style: &str) -> BTreeSet<&str> {
    let uncommented = style.split("*/").map(|part| part.split("/*").next().unwrap_or_default());
    let selectors =
        uncommented.flat_map(|part| part.split(['{', '}', ';']).filter(|text| text.contains('.')));
    let named = selectors.flat_map(|selector| selector.split('.').skip(1));
    let names = named.map(|name| name.split(|letter| !is_of_a_name(letter)).next().unwrap_or_default());
    // Numbers have points too.
    names.filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic())).collect()
}

#[test]
fn every_class_that_is_styled_is_on_the_page() {
    let (style, source) = (texts("style", "css"), texts("src", "rs") + include_str!("../../index.html"));
    let used: BTreeSet<&str> = source.split(|letter| !is_of_a_name(letter)).collect();
    let unused: Vec<_> = classes(&style).into_iter().filter(|class| !used.contains(class)).collect();
    assert!(unused.is_empty(), "no element has the class(es) {unused:?}");
}

#[test]
fn classes_are_found_in_selectors_only() {
    let style = "/* .old { */ .a > .b-c:hover { width: 1.5em; } @media (x) { li.d { top: .5px } }";
    assert_eq!(classes(style).into_iter().collect::<Vec<_>>(), ["a", "b-c", "d"]);
}
