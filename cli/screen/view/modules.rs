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

/// From so many columns on there is room for what modules send.
const WIDE: u16 = 70;
/// From so many columns on there is room for what is to be said about them.
const WIDEST: u16 = 100;
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
    if let (Some(log), Some(module)) = (log, look.status.modules.get(screen.chosen_row())) {
        logs::draw_one(frame, log, screen, &format!("{}: {}", module.name, about(module)));
    }
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, screen: &Screen, look: &Look) {
    if look.status.modules.is_empty() {
        return frame.render_widget("No modules yet: run `edgectl deploy`.", area);
    }
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
    if area.width >= WIDE {
        titles.push("SENT");
        widths.push(Constraint::Length(8));
    }
    if area.width >= WIDEST {
        titles.push("ABOUT");
        widths.push(Constraint::Min(8));
    }
    let columns = titles.len();
    let rows = look.status.modules.iter().map(|module| Row::new(row(screen, look, module).into_iter().take(columns)));
    let table = Table::new(rows, widths)
        .header(Row::new(titles).style(Theme::strong()))
        .row_highlight_style(Theme::chosen())
        .highlight_symbol("> ");
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(screen.chosen_row()));
}

/// All cells of a module; those at the end may find no room.
fn row(screen: &Screen, look: &Look, module: &ModuleStatus) -> [Cell<'static>; 7] {
    let usage = look.usage.get(&module.name);
    let identity = format!("{}/{}", look.status.endpoints.device_id, module.name);
    [
        Cell::from(module.name.clone()),
        Cell::from(Span::styled(module.status.clone(), screen.theme.status(&module.status))),
        Cell::from(module.restarts.to_string()),
        Cell::from(numbers::percent(screen.rates.processors.get(&module.name).copied())),
        Cell::from(numbers::memory(usage.map(|usage| usage.memory))),
        Cell::from(numbers::rate(screen.rates.of("accepted", &identity))),
        Cell::from(about(module)),
    ]
}

/// What matters most of a module: why it does not run, that it found no hub, or what it is.
fn about(module: &ModuleStatus) -> String {
    match (module.status.as_str(), module.connected) {
        ("running", true) => module.runs_as.clone().unwrap_or_else(|| module.image.clone()),
        ("running", false) => "not connected to the hub".to_owned(),
        _ => module.description.clone(),
    }
}
