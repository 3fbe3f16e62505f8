import atq.LoadTest

/** Runs a load test and publishes its outputs. See atqLoadTest.txt and README.md for the parameters. */
Map call(Map given = [:]) {
    List faults = LoadTest.faults(given)
    if (faults) {
        error("atqLoadTest: ${faults.join('; ')}")
    }
    Map plan = LoadTest.plan(given, env.JOB_NAME, env.BUILD_NUMBER)
    int code = execute(plan)
    publish(plan)
    Map outcome = [exitCode: code, verdict: LoadTest.verdict(code), name: plan.name]
    conclude(plan, code)
    return outcome
}

private int execute(Map plan) {
    String program = plan.client == 'curl' ? bringClient() : plan.program
    // One key for run and stop, so that the step never stops a task of another build.
    List environment = plan.environment + [
        LoadTest.variable('ATQ_STEP_PROGRAM', program), LoadTest.variable('ATQ_IDEMPOTENCY_KEY', UUID.randomUUID().toString()),
    ]
    Integer code = null
    withEnv(environment) {
        withToken(plan) {
            try {
                code = sh(label: "load test ${plan.name}", returnStatus: true, script: plan.run)
            } finally {
                // No code: the build was aborted or the agent is lost. Unknown code: the program was killed.
                if (!LoadTest.isKnown(code)) {
                    stop(plan)
                }
            }
        }
    }
    return code
}

/** Runs the body with the token in ATQ_TOKEN. Jenkins masks it in the log; no script contains it. */
private void withToken(Map plan, Closure body) {
    if (plan.credentialsId) {
        withCredentials([string(credentialsId: plan.credentialsId, variable: 'ATQ_TOKEN')]) {
            body()
        }
    } else {
        body()
    }
}

/** Stops the task if the program could not, for example because it was killed. */
private void stop(Map plan) {
    try {
        timeout(time: 1, unit: 'MINUTES') {
            sh(label: "stop ${plan.name}", returnStatus: true, script: plan.stop)
        }
    } catch (Exception problem) {
        // Must not hide the reason for the end of the build.
        echo("atqLoadTest: the task ${plan.name} may still run: ${problem.message}")
    }
}

private String bringClient() {
    String path = "${pwd(tmp: true)}/atq-load-test.sh"
    writeFile(file: path, text: libraryResource('atq-load-test.sh'))
    return path
}

private void publish(Map plan) {
    junit(testResults: "${plan.results}/junit.xml", allowEmptyResults: true, skipMarkingBuildUnstable: !plan.failBuild)
    archiveArtifacts(artifacts: "${plan.results}/**", excludes: "${plan.results}/.atq-files", allowEmptyArchive: true)
    if (fileExists("${plan.results}/report.html")) {
        publishReport(plan)
    }
}

private void publishReport(Map plan) {
    try {
        publishHTML(target: [reportName: "Load test ${plan.name}", reportDir: plan.results, reportFiles: 'report.html',
            keepAll: true, alwaysLinkToLastBuild: true, allowMissing: true])
    } catch (NoSuchMethodError ignored) {
        echo('atqLoadTest: without the plugin HTML Publisher, the report is among the archived files')
    }
}

private void conclude(Map plan, int code) {
    String message = "load test ${plan.name}: ${LoadTest.meaning(code)} (exit code ${code})"
    if (code == 0 || !plan.failBuild) {
        echo(message)
    } else if (code == 1) {
        unstable(message)
    } else {
        error(message)
    }
}
