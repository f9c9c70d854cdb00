//! What the modules printed.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::numbers;
use crate::screen::state::{LogLine, Screen};
use crate::screen::theme::Theme;

/// Draws lines of all modules, or of the chosen one.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let of = screen.chosen().filter(|_| screen.one_module).unwrap_or_else(|| "all modules".to_owned());
    let place = if screen.back > 0 { format!("  {} lines back", screen.back) } else { String::new() };
    draw_titled(frame, area, screen, &format!("Log of {of}{place}"), |line| {
        let name = Span::styled(format!("{} ", line.module), Theme::strong());
        Line::from(vec![name, Span::raw(numbers::plain(&line.text))])
    });
}

/// Draws the newest lines of the chosen module.
pub fn draw_one(frame: &mut Frame<'_>, area: Rect, screen: &Screen, title: &str) {
    draw_titled(frame, area, screen, title, |line| Line::raw(numbers::plain(&line.text)));
}

fn draw_titled(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &Screen,
    title: &str,
    draw_line: impl Fn(&LogLine) -> Line<'static>,
) {
    let [top, rest] = Layout::vertical([Constraint::Length(1), Constraint::Min(1)]).areas(area);
    frame.render_widget(Line::styled(title.to_owned(), Theme::strong()), top);
    let back = if screen.view == crate::screen::state::View::Logs { screen.back } else { 0 };
    let mut lines: Vec<Line<'_>> = screen.lines().skip(back).take(usize::from(rest.height)).map(draw_line).collect();
    lines.reverse();
    if lines.is_empty() {
        lines.push(Line::styled("nothing yet", Theme::weak()));
    }
    frame.render_widget(Paragraph::new(lines), rest);
}
