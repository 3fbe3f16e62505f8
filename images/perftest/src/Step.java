package com.rabbitmq.perf;

import java.util.Map;

/**
 * One measurement with fixed parameters: a simple scenario, or one value of a varying one.
 *
 * @param scenario name of the scenario
 * @param label what distinguishes it from the other steps; may be empty
 * @param uri address of the broker
 * @param params parameters with the names of the spec file, for all workers together
 * @param pace the limit of the rate that depends on an earlier step
 */
record Step(String scenario, String label, String uri, Map<String, Object> params, Pace pace) {

  /** The rate of a producer. */
  sealed interface Pace permits Pace.Given, Pace.Maximum, Pace.PercentOfMaximum {

    /** As in the parameters. */
    record Given() implements Pace {}

    /** As in the parameters; the measured rate is the maximum for the following steps. */
    record Maximum() implements Pace {}

    /** A part of the measured maximum, in percent. */
    record PercentOfMaximum(int percent) implements Pace {}
  }

  Step labelled(String label) {
    return new Step(scenario, label, uri, params, pace);
  }

  Step with(Map<String, Object> params) {
    return new Step(scenario, label, uri, params, pace);
  }
}
