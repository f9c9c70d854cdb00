//! What is around every view: the device above, the keys below.

use edgectl_simulator::link::Conditions;
use edgectl_simulator::requests::DeviceStatus;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use serde_json::Value;

use super::{logs, modules, numbers, queues, routes, twins};
use crate::commands::sim::network::described;
use crate::screen::keys;
use crate::screen::state::{Screen, View};
use crate::screen::theme::Theme;

/// The smallest terminal that something can be read on: columns and rows.
const SMALLEST: (u16, u16) = (40, 10);
/// What is known before the first look.
const NOTHING: &str = "Looking at the device...";

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        return too_small(frame, area);
    }
    let [head, tabs, _, body, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(u16::from(area.height >= 16)),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(heading(screen)), head);
    frame.render_widget(tab_line(screen), tabs);
    match (&screen.look, screen.view) {
        (None, _) => frame.render_widget(NOTHING, body),
        (Some(look), View::Modules) => modules::draw(frame, body, screen, look),
        (Some(look), View::Routes) => routes::draw(frame, body, screen, look),
        (Some(look), View::Queues) => queues::draw(frame, body, screen, look),
        (Some(_), View::Twins) => twins::draw(frame, body, screen),
        (Some(_), View::Logs) => logs::draw(frame, body, screen),
    }
    frame.render_widget(last_line(screen, area.width), foot);
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let (columns, rows) = SMALLEST;
    let text = format!(
        "{} by {} is too small;\n{columns} by {rows} will do,\n80 by 24 is good.\nq quits",
        area.width, area.height
    );
    frame.render_widget(Paragraph::new(text).alignment(Alignment::Left), area);
}

fn heading(screen: &Screen) -> Vec<Line<'static>> {
    let Some(look) = &screen.look else { return Vec::new() };
    let status = &look.status;
    let first = Line::from(vec![
        Span::styled(status.endpoints.device_id.clone(), Theme::strong()),
        Span::raw(format!("  {}  ", status.endpoints.gateway_host_name)),
        deployment(status, screen.theme),
        Span::raw(format!("  cloud {} ({})", status.received_by_cloud, numbers::rate(screen.rates.cloud))),
    ]);
    vec![first, network(&status.network, screen.theme)]
}

fn deployment(status: &DeviceStatus, theme: Theme) -> Span<'static> {
    let code = status.deployment.get("code").and_then(Value::as_u64);
    let refused = status.hub.get("refused").is_some_and(Value::is_string);
    match (code, status.deployment_version) {
        (Some(200), Some(version)) if !refused => Span::raw(format!("deployment {version} applied")),
        (Some(200), Some(version)) => Span::styled(format!("deployment {version}: routes refused"), theme.bad()),
        (Some(417), Some(1)) | (None, _) | (_, None) => Span::raw("nothing deployed"),
        (Some(code), Some(version)) => Span::styled(format!("deployment {version}: status {code}"), theme.bad()),
    }
}

fn network(conditions: &Conditions, theme: Theme) -> Line<'static> {
    let state = if conditions.online {
        Span::styled("network online", theme.good())
    } else {
        Span::styled("network OFFLINE", theme.bad())
    };
    let mut spans = vec![state];
    for (direction, faults) in [("up", &conditions.up), ("down", &conditions.down)] {
        if let Some(faults) = described(faults) {
            spans.push(Span::raw(format!("  {direction}: {faults}")));
        }
    }
    Line::from(spans)
}

fn tab_line(screen: &Screen) -> Line<'static> {
    let tabs = View::ALL.iter().zip(1..).flat_map(|(view, number)| {
        let is_shown = *view == screen.view;
        // The brackets say it where nothing is shown in reverse.
        let text = if is_shown { format!("[{number} {}]", view.name()) } else { format!(" {number} {} ", view.name()) };
        [Span::styled(text, if is_shown { Theme::chosen() } else { Theme::weak() }), Span::raw(" ")]
    });
    Line::from(tabs.collect::<Vec<_>>())
}

/// What is to be told, or else the keys; those of the view where there is room for them.
fn last_line(screen: &Screen, width: u16) -> Line<'static> {
    if let Some(notice) = &screen.notice {
        return Line::styled(numbers::plain(notice), Theme::strong());
    }
    let all = format!("{}  {}", keys::ALWAYS, keys::of(screen.view));
    let fits = all.chars().count() <= usize::from(width);
    Line::styled(if fits { all } else { keys::ALWAYS.to_owned() }, Theme::weak())
}
