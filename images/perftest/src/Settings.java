package com.rabbitmq.perf;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** The settings of this worker, from the environment. README.md describes the variables. */
final class Settings {

  private final Map<String, String> environment;

  Settings(Map<String, String> environment) {
    this.environment = environment;
  }

  Share share() {
    return new Share(number("ATQ_SHARE_INDEX", 0), number("ATQ_SHARE_COUNT", 1));
  }

  /** True if the counts in the spec file are those of all workers together. */
  boolean isSplit() {
    String counts = text("PERFTEST_COUNTS", "total");
    return switch (counts) {
      case "total" -> true;
      case "worker" -> false;
      default -> throw new SpecException("PERFTEST_COUNTS is `" + counts + "`; expected `total` or `worker`");
    };
  }

  /** Identifies the run at the broker: two runs at the same time have different subnets. */
  String run() {
    return ("atq " + text("ATQ_TASK", "") + " " + text("ATQ_SUBNET", "")).trim();
  }

  Path results() {
    return Path.of(text("ATQ_RESULTS", "/atq/results"), "messages.csv");
  }

  /** How long to wait for the broker, and for the other workers. */
  Duration patience() {
    return Duration.ofSeconds(number("PERFTEST_WAIT", 60));
  }

  /** How long consumers may take for the messages that are left when the producers have stopped. */
  Duration drain() {
    return Duration.ofSeconds(number("PERFTEST_DRAIN", 5));
  }

  /** The spec file: the argument, or else the variable; a name without a folder is one of the bundle. */
  String spec(String[] arguments) {
    String name = arguments.length > 0 ? arguments[0] : text("PERFTEST_SPEC", "");
    if (name.isEmpty() || arguments.length > 1) {
      throw new SpecException("expected one spec file, as argument or in PERFTEST_SPEC");
    }
    Path file = Path.of("/atq/data").resolve(name);
    try {
      return Files.readString(file);
    } catch (IOException e) {
      throw new SpecException("the spec file `" + file + "` cannot be read: " + e);
    }
  }

  /** The step with the address and the parameters that override those of the spec file. */
  Step override(Step step) {
    Map<String, Object> params = Spec.merged(step.params(), params());
    String uri = text("PERFTEST_URI", step.uri());
    return new Step(step.scenario(), step.label(), uri, params, step.pace());
  }

  private Map<String, Object> params() {
    Map<String, Object> params = new LinkedHashMap<>();
    for (String pair : text("PERFTEST_PARAMS", "").trim().split("\\s+")) {
      if (pair.isEmpty()) {
        continue;
      }
      String[] parts = pair.split("=", 2);
      if (parts.length < 2 || parts[0].isEmpty()) {
        throw new SpecException(
            "PERFTEST_PARAMS has `" + pair + "`; expected NAME=VALUE, such as `time-limit=10`");
      }
      params.put(parts[0], parts[1]);
    }
    return params;
  }

  private String text(String name, String otherwise) {
    String value = environment.get(name);
    return value == null || value.isBlank() ? otherwise : value;
  }

  private int number(String name, int otherwise) {
    String value = text(name, Integer.toString(otherwise));
    try {
      int number = Integer.parseInt(value);
      if (number >= 0) {
        return number;
      }
    } catch (NumberFormatException e) {
      // Reported below.
    }
    throw new SpecException(name + " is `" + value + "`; expected a whole number from 0");
  }
}
