//! Aligned tables: numbers to the right, the rest to the left, two spaces between columns, nothing at line ends.

/// Colour of a cell on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Waiting,
    Bad,
}

/// One cell.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    pub fn text(text: impl ToString) -> Self {
        Self { text: text.to_string(), tone: Tone::Plain, right: false }
    }

    pub fn number(text: impl ToString) -> Self {
        Self { right: true, ..Self::text(text) }
    }

    pub fn toned(text: impl ToString, tone: Tone) -> Self {
        Self { tone, ..Self::text(text) }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn padded(&self, width: usize, colour: bool) -> String {
        let space = " ".repeat(width.saturating_sub(self.width()));
        let code = match self.tone {
            Tone::Plain => None,
            Tone::Good => Some(32),
            Tone::Waiting => Some(33),
            Tone::Bad => Some(31),
        };
        let text = match code.filter(|_| colour) {
            Some(code) => format!("\x1b[{code}m{}\x1b[0m", self.text),
            None => self.text.clone(),
        };
        if self.right { format!("{space}{text}") } else { format!("{text}{space}") }
    }
}

/// A table with a header. Every row has as many cells as the header. Control characters, which would break lines or
/// command the terminal, are shown escaped.
pub fn render(header: &[&str], rows: &[Vec<Cell>], colour: bool) -> String {
    let clean = |cell: &Cell| Cell { text: printable(&cell.text), ..cell.clone() };
    let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(clean).collect()).collect();
    let mut all = vec![];
    let heads = header.iter().enumerate().map(|(column, name)| {
        let right = rows.first().is_some_and(|row| row[column].right);
        if right { Cell::number(name) } else { Cell::text(name) }
    });
    all.push(heads.collect::<Vec<Cell>>());
    all.extend(rows);
    let width = |column: usize| all.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &Vec<Cell>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| cell.padded(*width, colour));
        let line = cells.collect::<Vec<String>>().join("  ");
        format!("{}\n", line.trim_end())
    };
    all.iter().map(line).collect()
}

/// A text of the server or of a module without control characters.
pub fn printable(text: &str) -> String {
    let escape = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_colours_do_not_count() {
        let rows = [
            vec![Cell::text("a"), Cell::number(5), Cell::toned("running", Tone::Good)],
            vec![Cell::text("longer"), Cell::number(1284), Cell::toned("halted", Tone::Bad)],
        ];
        let plain = "NAME    POSITION  STATE\na              5  running\nlonger      1284  halted\n";
        assert_eq!(render(&["NAME", "POSITION", "STATE"], &rows, false), plain);
        let coloured = render(&["NAME", "POSITION", "STATE"], &rows, true);
        assert!(coloured.contains("\x1b[32mrunning\x1b[0m") && coloured.contains("\x1b[31mhalted\x1b[0m"));
        assert_eq!(coloured.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", ""), plain);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let rows = [vec![Cell::text("a\x1b[2J\nb")]];
        assert_eq!(render(&["X"], &rows, false), "X\na\\u{1b}[2J\\nb\n");
    }
}
