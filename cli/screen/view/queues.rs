//! The queues: what waits, what was delivered, and what was dropped.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Row, Table, TableState};

use super::numbers;
use crate::screen::look::Look;
use crate::screen::state::Screen;
use crate::screen::theme::Theme;

/// Draws them.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, look: &Look) {
    let [queues, dropped] = Layout::vertical([Constraint::Min(2), Constraint::Length(1)]).areas(area);
    let (waiting, delivered) = (look.queues(), look.counts("delivered"));
    let rows = look.endpoints().into_iter().map(|endpoint| {
        let count = |of: &std::collections::BTreeMap<String, u64>| of.get(&endpoint).copied().unwrap_or_default();
        let rate = numbers::rate(screen.rates.of("delivered", &endpoint));
        let cells = [count(&waiting).to_string(), count(&delivered).to_string(), rate];
        Row::new(std::iter::once(endpoint).chain(cells))
    });
    let widths = [Constraint::Min(16), Constraint::Length(9), Constraint::Length(10), Constraint::Length(9)];
    let table = Table::new(rows, widths)
        .header(Row::new(["ENDPOINT", "WAITING", "DELIVERED", "RATE"]).style(Theme::strong()))
        .row_highlight_style(Theme::chosen())
        .highlight_symbol("> ");
    frame.render_stateful_widget(table, queues, &mut TableState::new().with_selected(screen.row));
    let reasons: Vec<String> =
        look.counts("dropped").iter().map(|(reason, count)| format!("{count} {}", reason.replace('_', " "))).collect();
    let reasons = if reasons.is_empty() { "none".to_owned() } else { reasons.join(", ") };
    frame.render_widget(format!("Dropped: {reasons}"), dropped);
}
