//! Drawings as SVG text. What is in them is numbers and words of this page's own, never a user's or a server's words.
//!
//! Nothing is told by colour alone: what is left out is hatched, authors have letters, gauges have their number. Classes
//! get their colours from `style/receipt.css` on the page, and from the poster itself in a file.

pub mod chart;
pub mod gauge;
pub mod masks;
pub mod poster;
pub mod strip;

use std::fmt::Write;

/// Shapes on a sheet of some size.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    width: f64,
    height: f64,
    body: String,
}

/// Left and upper edge, width and height.
type Area = (f64, f64, f64, f64);

impl Sheet {
    /// An empty sheet.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Width and height.
    pub fn size(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// Makes the sheet longer or shorter.
    pub fn resize(&mut self, height: f64) {
        self.height = height;
    }

    fn add(&mut self, shape: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.body.write_fmt(shape);
    }

    /// A rectangle.
    pub fn rect(&mut self, (x, y, width, height): Area, class: &str) {
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}"/>"#
        ));
    }

    /// A rectangle through which `1 - opacity` of what is below shows.
    pub fn veil(&mut self, (x, y, width, height): Area, class: &str, opacity: f32) {
        self.add(format_args!(
            r#"<rect class="{class}" x="{x:.2}" y="{y:.2}" width="{width:.2}" height="{height:.2}" fill-opacity="{opacity:.3}"/>"#
        ));
    }

    /// A line or curve; `d` as in SVG.
    pub fn path(&mut self, d: &str, class: &str) {
        self.add(format_args!(r#"<path class="{class}" d="{d}"/>"#));
    }

    /// Words that begin at a point of their line.
    pub fn text(&mut self, (x, y): (f64, f64), class: &str, words: &str) {
        let words = escaped(words);
        self.add(format_args!(r#"<text class="{class}" x="{x:.2}" y="{y:.2}">{words}</text>"#));
    }

    /// Another sheet on this one, scaled.
    pub fn place(&mut self, (x, y): (f64, f64), scale: f64, other: &Self) {
        let body = &other.body;
        self.add(format_args!(r#"<g transform="translate({x:.2} {y:.2}) scale({scale:.4})">{body}</g>"#));
    }

    /// The whole drawing for a page: with `label`, the numbers in words, for those who do not see it; without, as an
    /// ornament. It fills the place it is put in.
    pub fn svg(&self, label: Option<&str>) -> String {
        let role = match label {
            Some(label) => format!(r#"role="img" aria-label="{}""#, escaped(label)),
            None => r#"aria-hidden="true""#.to_owned(),
        };
        let Self { width, height, body } = self;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" preserveAspectRatio="none" {role}>{body}</svg>"#
        )
    }

    /// The whole drawing as a file of its own, with its own colours.
    pub fn file(&self, style: &str) -> String {
        let Self { width, height, body } = self;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"><style>{style}</style>{body}</svg>"#
        )
    }
}

/// Words as they stand in XML and HTML, attributes included.
pub fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_never_become_markup() {
        let mut sheet = Sheet::new(10.0, 10.0);
        sheet.text((0.0, 0.0), "a", "<b>&\"");
        let svg = sheet.svg(Some("5 > 4 \"x\""));
        assert!(
            svg.contains("&lt;b&gt;&amp;&quot;</text>") && svg.contains("5 &gt; 4 &quot;x&quot;"),
            "{svg}"
        );
        assert!(sheet.svg(None).contains("aria-hidden"));
    }
}
