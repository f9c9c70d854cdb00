//! The routes: how many messages they took, and how fast.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Row, Table, TableState};

use super::numbers;
use crate::screen::look::Look;
use crate::screen::state::Screen;
use crate::screen::theme::Theme;

/// Draws them.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, look: &Look) {
    let (routes, taken) = (look.routes(), look.counts("routed"));
    if routes.is_empty() {
        return frame.render_widget("No routes yet: messages go nowhere.", area);
    }
    let rows = routes.iter().map(|(name, text)| {
        let count = taken.get(name).copied().unwrap_or_default().to_string();
        Row::new([name.clone(), count, numbers::rate(screen.rates.of("routed", name)), text.clone()])
    });
    let widths = [Constraint::Max(20), Constraint::Length(9), Constraint::Length(8), Constraint::Fill(2)];
    let table = Table::new(rows, widths)
        .header(Row::new(["ROUTE", "MESSAGES", "RATE", "TEXT"]).style(Theme::strong()))
        .row_highlight_style(Theme::chosen())
        .highlight_symbol("> ");
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(screen.row));
}
