//! One frame as text, for where there is no terminal.

use edgectl_simulator::control::{self, Next, Request};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::Value;

use super::look::look;
use super::session::{INTERVAL, twin};
use super::state::{LogLine, News, Screen, View};
use super::theme::Theme;
use super::view::frame;
use crate::commands::device::control_error;
use crate::error::CommandError;
use crate::solution::solution::Solution;

/// Looks twice, since rates need two looks, and draws what was seen.
pub async fn frame(solution: &Solution, view: View, size: (u16, u16)) -> Result<String, CommandError> {
    let state = solution.device_state();
    let mut screen = Screen::new(view, Theme { color: false });
    screen.take(News::Look(Box::new(look(&state).await.map_err(control_error)?)));
    tokio::time::sleep(INTERVAL).await;
    screen.take(News::Look(Box::new(look(&state).await.map_err(control_error)?)));
    let tail = Some(usize::from(size.1));
    let request = Request::Logs { modules: Vec::new(), follow: false, tail, since: None, until: None };
    let mut lines = control::ask(&state.control_socket(), &request).await.map_err(control_error)?;
    while let Next::Item(line) = lines.next().await.map_err(control_error)? {
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        screen.take(News::Log(LogLine { module: text("module"), text: text("text") }));
    }
    if let Some(module) = screen.wanted_twin() {
        let found = twin(solution, &module).await.map_err(|error| error.to_string());
        screen.take(News::Twin(module, found));
    }
    Ok(drawn(&screen, size))
}

/// The screen as lines of text.
pub(super) fn drawn(screen: &Screen, (columns, rows): (u16, u16)) -> String {
    // Drawing into memory cannot fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|area| frame::draw(area, screen));
    let cells = terminal.backend().buffer().content();
    let lines = cells.chunks(usize::from(columns.max(1))).map(|row| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::screen;
    use super::*;

    #[test]
    fn every_view_fits_a_small_terminal() {
        let text = drawn(&screen(View::Modules), (80, 24));
        for words in [
            "plant  127.0.7.1  deployment 3 applied  cloud 6 (-)\nnetwork online  up: latency 20 ms\n[1 Modules]",
            "  MODULE STATUS    RESTARTS CPU    MEMORY    SENT\n",
            "> filter running   2        -      12.0 MiB  -\n",
            "  sensor backoff   2        -      -         -\n",
            "filter: built from filter\nred    cell\n",
            "q quit  Tab or 1-5 view  n network off/on  Up/Down module\n",
        ] {
            assert!(text.contains(words), "{words:?} is not in:\n{text}");
        }
        assert_eq!(text.lines().count(), 24);
        let text = drawn(&screen(View::Modules), (100, 24));
        assert!(text.contains("SENT     ABOUT\n") && text.contains("-        exited with code 3\n"), "{text}");
        let text = drawn(&screen(View::Routes), (80, 24));
        assert!(text.contains("> filterToCloud        6         -        FROM /messages/modules/filter"), "{text}");
        let text = drawn(&screen(View::Queues), (80, 24));
        assert!(text.contains("> iothub ") && text.contains("Dropped: 4 no route\n"), "{text}");
        let text = drawn(&screen(View::Logs), (80, 24));
        assert!(text.contains("Log of all modules\nfilter red    cell\nsensor warm\n"), "{text}");
        let mut twins = screen(View::Twins);
        let twin = serde_json::json!({ "properties": { "desired": { "interval": 5, "$metadata": {} } } });
        twins.take(News::Twin("filter".to_owned(), Ok(twin)));
        let text = drawn(&twins, (80, 24));
        assert!(text.contains("> filter     desired\n  sensor     {\n  $edgeAgent   \"interval\": 5\n"), "{text}");
    }

    #[test]
    fn what_has_no_room_is_left_out() {
        let text = drawn(&screen(View::Modules), (50, 12));
        assert!(text.contains("> filter running") && !text.contains("SENT"), "{text}");
        assert!(text.contains("q quit  Tab or 1-5 view"), "{text}");
        let text = drawn(&screen(View::Modules), (30, 8));
        assert!(text.contains("30 by 8 is too small;\n40 by 10 will do,\n"), "{text}");
        for (columns, rows) in
            (0..100).step_by(7).flat_map(|columns| (0..30).step_by(3).map(move |rows| (columns, rows)))
        {
            for view in View::ALL {
                drawn(&screen(view), (columns, rows));
            }
        }
    }
}
