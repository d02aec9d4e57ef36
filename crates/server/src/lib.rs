//! gRPC services, config, TLS, telemetry, wiring.
