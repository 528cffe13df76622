//! Takes from scripts what only people read: lines that are nothing but comment, and indentation. Names stay, so what a
//! browser shows of an error can be found in the source.
//!
//! Knows no JavaScript, and need not: a line within a template literal that began like a comment would be taken for one,
//! which the house's scripts and `wasm-bindgen`'s do not have.

/// The script without comment lines and indentation.
pub(crate) fn slim(script: &str) -> String {
    let mut slim = String::with_capacity(script.len());
    let mut in_comment = false;
    for line in script.lines().map(str::trim) {
        if in_comment || line.starts_with("/*") {
            let after = line.split_once("*/").map(|(_comment, after)| after);
            in_comment = after.is_none();
            // Where code follows the comment, both stay.
            if after.is_none_or(|after| after.trim().is_empty()) {
                continue;
            }
        }
        if !line.is_empty() && !line.starts_with("//") {
            slim.push_str(line);
            slim.push('\n');
        }
    }
    slim
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_indentation_go_and_code_stays() {
        let script = "/**\n * Says it.\n * @param {string} a\n */\nfunction say(a) {\n  // Why.\n  /* one line */\n\n  \
                      const b = a * 2; // stays\n  /* why */ return `/*${b}\n`;\n}\n";
        let slim = slim(script);
        assert_eq!(slim, "function say(a) {\nconst b = a * 2; // stays\n/* why */ return `/*${b}\n`;\n}\n");
    }

    #[test]
    fn a_product_that_begins_a_line_is_no_comment() {
        assert_eq!(slim("let a = 1\n  * 2;\n"), "let a = 1\n* 2;\n");
    }
}
