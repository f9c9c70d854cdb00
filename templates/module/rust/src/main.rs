//! A module that lets through what is too hot: each message on `input1` whose machine temperature is above the
//! desired property `TemperatureThreshold` leaves on `output1`, marked with the property `MessageType: Alert`.

mod edge;
mod filter;

use edge::{Error, Event, Message, Method, Module};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use crate::filter::Filter;

#[tokio::main(worker_threads = 1)]
async fn main() -> Result<(), Error> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let mut module = Module::from_environment().await?;
    let mut filter = Filter::default();
    loop {
        let event = tokio::select! {
            event = module.next() => event,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        match event {
            Event::Input { input, message } if input == "input1" => {
                on_message(&module, &filter, message).await
            }
            Event::Input { input, message } => {
                log::warn!("nothing is expected on input {input}");
                module.complete(&message).await;
            }
            Event::Desired(desired) => on_desired(&module, &mut filter, &desired).await,
            Event::Method(method) => on_method(&module, &filter, method).await,
        }
    }
    log::info!("asked to stop");
    module.close().await;
    Ok(())
}

/// Filters one message. It is completed only when its alert is safe in the hub, so none is lost in a crash.
async fn on_message(module: &Module, filter: &Filter, message: Message) {
    if let Some(alert) = filter.alert(&message) {
        if let Err(error) = module.send("output1", &alert).await {
            log::error!("an alert could not be sent: {error}");
            return;
        }
        log::info!("alert: {}", String::from_utf8_lossy(&alert.body));
    }
    module.complete(&message).await;
}

/// Takes over the desired properties, and reports what is in force now.
async fn on_desired(module: &Module, filter: &mut Filter, desired: &Value) {
    filter.configure(desired);
    log::info!("threshold: {}", filter.threshold);
    if let Err(error) = module
        .report(&json!({ "TemperatureThreshold": filter.threshold }))
        .await
    {
        log::error!("the threshold could not be reported: {error}");
    }
}

/// Answers direct methods.
async fn on_method(module: &Module, filter: &Filter, method: Method) {
    let (status, payload) = match method.name.as_str() {
        "threshold" => (200, json!({ "TemperatureThreshold": filter.threshold })),
        _ => (
            404,
            json!({ "error": format!("there is no method {}", method.name) }),
        ),
    };
    log::info!("method {}: {status}", method.name);
    if let Err(error) = module.respond(&method, status, &payload).await {
        log::error!("method {} could not be answered: {error}", method.name);
    }
}
