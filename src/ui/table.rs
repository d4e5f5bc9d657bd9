//! Tables without lines: columns two spaces apart, as wide as their widest cell. What is cut or coloured is for the
//! caller; this only aligns. Own code rather than a library, since nothing is wrapped and widths of coloured cells count
//! without their colours.

use std::fmt;

use unicode_width::UnicodeWidthStr;

/// Rows of cells. The last column is not padded, so no line ends in spaces.
#[derive(Debug, Clone, Default)]
pub struct Table {
    indent: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty table whose lines begin with `indent` spaces.
    pub fn indented(indent: usize) -> Self {
        Self { indent, rows: Vec::new() }
    }

    /// Adds a row; also the header is one. Rows may have different lengths.
    pub fn row<Cell: Into<String>>(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| visible_width(cell)).max();
        (0..columns).map(|column| width(column).unwrap_or_default()).collect()
    }
}

/// How many columns of a terminal `text` takes, colours not counted.
pub fn visible_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(UnicodeWidthStr::width).sum()
}

/// The lines, without a line end at the end.
impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width + 2 - visible_width(cell)));
            }
            if number > 0 {
                formatter.write_str("\n")?;
            }
            formatter.write_str(line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned() {
        let mut table = Table::indented(2);
        table
            .row(["store", "written", "through its relay"])
            .row(["eu-1", "v42 -> v43", "off"])
            .row(["東京", "\u{1b}[31mNO\u{1b}[0m", ""])
            .row(["short"]);
        assert_eq!(
            table.to_string(),
            "  store  written     through its relay\n  eu-1   v42 -> v43  off\n  東京   \u{1b}[31mNO\u{1b}[0m\n  short"
        );
    }

    #[test]
    fn empty() {
        assert!(Table::new().is_empty());
        assert_eq!(Table::new().to_string(), "");
    }
}
