//! The twin of the chosen module: what it is told, and what it reports.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{List, ListState, Paragraph};
use serde_json::{Map, Value};

use super::numbers;
use crate::screen::state::Screen;
use crate::screen::theme::Theme;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let names = screen.names();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or_default() + 2;
    let width = u16::try_from(width).unwrap_or(u16::MAX).min(area.width / 3);
    let [list, _, twin] =
        Layout::horizontal([Constraint::Length(width), Constraint::Length(1), Constraint::Min(10)]).areas(area);
    let modules = List::new(names).highlight_style(Theme::chosen()).highlight_symbol("> ");
    frame.render_stateful_widget(modules, list, &mut ListState::default().with_selected(Some(screen.chosen_row())));
    let lines = match &screen.twin {
        Some((name, found)) if Some(name) == screen.chosen().as_ref() => match found {
            Ok(properties) => text(properties),
            Err(why) => vec![Line::styled(numbers::plain(why), screen.theme.bad())],
        },
        _ => vec![Line::raw("...")],
    };
    // The last line can be scrolled up to the top, and no further.
    let top = screen.twin_top.min(lines.len().saturating_sub(1));
    frame.render_widget(Paragraph::new(lines).scroll((u16::try_from(top).unwrap_or(u16::MAX), 0)), twin);
}

fn text(twin: &Value) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for section in ["desired", "reported"] {
        let properties = twin.pointer(&format!("/properties/{section}")).and_then(Value::as_object);
        // What the hub keeps for itself says little on a small screen.
        let own: Map<String, Value> = properties
            .into_iter()
            .flatten()
            .filter(|(name, _)| *name != "$metadata")
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        lines.push(Line::styled(section, Theme::strong()));
        lines.extend(format!("{:#}", Value::Object(own)).lines().map(|line| Line::raw(numbers::plain(line))));
    }
    lines
}
