//! The modules, and below them what the chosen one prints.

use edgectl_simulator::requests::ModuleStatus;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Span;
use ratatui::widgets::{Cell, Row, Table, TableState};

use super::{logs, numbers};
use crate::screen::look::Look;
use crate::screen::state::Screen;
use crate::screen::theme::Theme;

/// From so many columns on there is room for what modules run as.
const WIDE: u16 = 70;
/// From so many rows on there is room for the log.
const HIGH: u16 = 10;

/// Draws them.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, look: &Look) {
    let rows = u16::try_from(look.status.modules.len()).unwrap_or(u16::MAX).saturating_add(1);
    let (table, log) = if area.height >= HIGH {
        let [table, _, log] = Layout::vertical([
            Constraint::Length(rows.min(area.height * 3 / 5)),
            Constraint::Length(1),
            Constraint::Min(2),
        ])
        .areas(area);
        (table, Some(log))
    } else {
        (area, None)
    };
    draw_table(frame, table, screen, look);
    if let (Some(log), Some(module)) = (log, screen.chosen()) {
        logs::draw_one(frame, log, screen, &module);
    }
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, screen: &Screen, look: &Look) {
    if look.status.modules.is_empty() {
        return frame.render_widget("No modules yet: run `edgectl deploy`.", area);
    }
    let is_wide = area.width >= WIDE;
    let name = look.status.modules.iter().map(|module| module.name.chars().count()).max().unwrap_or_default();
    let name = u16::try_from(name).unwrap_or(u16::MAX).clamp(6, area.width / 3);
    let mut widths = vec![
        Constraint::Length(name),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(6),
        Constraint::Length(9),
    ];
    let mut titles = vec!["MODULE", "STATUS", "RESTARTS", "CPU", "MEMORY"];
    if is_wide {
        titles.extend(["SENT", "ABOUT"]);
        widths.extend([Constraint::Length(8), Constraint::Min(8)]);
    }
    let rows = look.status.modules.iter().map(|module| row(screen, look, module, is_wide));
    let table = Table::new(rows, widths)
        .header(Row::new(titles).style(Theme::strong()))
        .row_highlight_style(Theme::chosen())
        .highlight_symbol("> ");
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(screen.chosen_row()));
}

fn row(screen: &Screen, look: &Look, module: &ModuleStatus, is_wide: bool) -> Row<'static> {
    let usage = look.usage.get(&module.name);
    let mut cells = vec![
        Cell::from(module.name.clone()),
        Cell::from(Span::styled(module.status.clone(), screen.theme.status(&module.status))),
        Cell::from(module.restarts.to_string()),
        Cell::from(numbers::percent(screen.rates.processors.get(&module.name).copied())),
        Cell::from(numbers::memory(usage.map(|usage| usage.memory))),
    ];
    if is_wide {
        let identity = format!("{}/{}", look.status.endpoints.device_id, module.name);
        let sent = screen.rates.of("accepted", &identity);
        cells.extend([Cell::from(numbers::rate(sent)), Cell::from(about(module))]);
    }
    Row::new(cells)
}

/// What matters most of a module: why it does not run, that it found no hub, or what it is.
fn about(module: &ModuleStatus) -> String {
    match (module.status.as_str(), module.connected) {
        ("running", true) => module.runs_as.clone().unwrap_or_else(|| module.image.clone()),
        ("running", false) => "not connected to the hub".to_owned(),
        _ => module.description.clone(),
    }
}
