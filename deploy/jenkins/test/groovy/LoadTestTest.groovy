import atq.LoadTest
import org.junit.Test

/** Tests of the logic without Jenkins. */
class LoadTestTest {
    static String fault(Map given) {
        List<String> faults = LoadTest.faults([task: 'load.json'] + given)
        assert faults.size() == 1 : "${given}: ${faults}"
        return faults[0]
    }

    @Test
    void parametersOfEveryKindAreAccepted() {
        assert LoadTest.faults([task: "${'load'}.json", bundle: 'tests/', criteria: 'p95 < 500ms', timeout: '1h 30m',
            set: ['worker.replicas': 5, 'worker.tty': true], env: ['A=b=c'], envFrom: ['PASSWORD'], name: 'shop-1',
            url: 'http://a:1', results: 'out/load', replace: true, follow: false, client: 'curl', atq: '/opt/atq',
            failBuild: false, credentialsId: 'team/atq-token', ca: '/etc/ssl/ca.pem']) == []
        assert LoadTest.faults([task: 'a', bundle: null, criteria: null]) == []
    }

    @Test
    void anUnknownParameterIsReportedWithTheKnownOnes() {
        String fault = fault([bundel: 'tests/'])
        assert fault.startsWith('unknown parameter `bundel`; known parameters: task, bundle, criteria, set,')
        assert LoadTest.faults([bundel: 1, taks: 2]).size() == 2
    }

    @Test
    void aValueOfTheWrongKindIsReported() {
        assert fault([bundle: ['a']]) == '`bundle` is a list; expected text'
        assert fault([timeout: 30]) == '`timeout` is `30`; expected text'
        assert fault([criteria: [p95: '500ms']]) == '`criteria` has a map; expected text, or a list of texts'
        assert fault([set: ['worker.args': ['a']]]).contains('`worker.args` of `set` is a list; expected text, a number')
        assert fault([env: [A: null]]).contains('`A` of `env` is null')
        assert fault([replace: 'yes']) == '`replace` is `yes`; expected true or false'
    }

    @Test
    void anInvalidValueIsReported() {
        assert LoadTest.faults([:]) == ["`task` is missing: the path of the test's definition"]
        assert fault([task: '--help']).contains('does not begin with `-`')
        assert fault([name: 'a/b']).startsWith('`name` is `a/b`; expected 3 to 45 letters')
        assert fault([name: 'shop\n']).startsWith('`name` is')
        assert fault([timeout: '30']).contains('a number with a unit')
        assert fault([credentialsId: 'a b']).contains('the id of a secret text')
        assert fault([client: 'wget']) == '`client` is `wget`; expected `atq` or `curl`'
        assert fault([env: ['pass word=1']]).contains('the name of a variable')
        assert fault([envFrom: ['A; rm -rf /']]).contains('`a name in envFrom` is `A; rm -rf /`')
        assert fault([bundle: 'a\0b']) == '`bundle` contains a NUL character'
    }

    @Test
    void aTextWithoutANameMayBeAPasswordAndIsNotShown() {
        assert !fault([env: ['hunter2']]).contains('hunter2')
    }

    @Test
    void resultsAreInTheWorkspace() {
        for (String path : ['/tmp', '..', '.', 'a/../b', 'a/..', 'a b', '-a', 'a/*', 'a/-b', '', 'a//b']) {
            assert fault([results: path]).startsWith('`results` is') : path
        }
        for (String path : ['atq-results', 'out/load/', '.out', 'a..b']) {
            assert LoadTest.faults([task: 'a', results: path]) == [] : path
        }
    }

    @Test
    void aTaskHasTheNameOfItsBuild() {
        assert LoadTest.nameOf('shop', '17') == 'shop-17'
    }

    @Test
    void everyNameIsValidAndUnique() {
        Set<String> names = []
        List<String> jobs = ['a/b', 'a-b', 'a b', 'Läden/größe', 'x' * 44, 'x' * 45, 'x' * 60, '', '---', 'team/shop%2Fmain', '_']
        for (String job : jobs) {
            for (String build : ['1', '2', '123456789', '9' * 60]) {
                String name = LoadTest.nameOf(job, build)
                assert name ==~ /[A-Za-z0-9][A-Za-z0-9_-]{1,43}[A-Za-z0-9]/ : "${job} ${build}"
                assert names.add(name) : "${job} ${build}: ${name} is not unique"
            }
        }
        assert LoadTest.nameOf(null, null) ==~ /[a-z0-9-]+/
        assert LoadTest.nameOf('team/shop', '17') ==~ /team-shop-[0-9a-f]{8}-17/
    }

    @Test
    void noValueIsPartOfAScript() {
        Map plan = LoadTest.plan([task: 'T1', bundle: 'T2', criteria: ['T3'], set: [T4: 'T5'], env: [T6: 'T7'], url: 'T8',
            timeout: 'T9', results: 'T10', name: 'T11', atq: 'T12'], 'T13', 'T14')
        assert !(plan.run + plan.stop =~ /\bT\d/)
        assert plan.run.startsWith('set +x\n') && plan.stop.startsWith('set +x\n')
    }

    @Test
    void everyExitCodeOfAtqHasAMeaning() {
        String source = new File('../../cli/src/exit.rs').text
        List<Integer> codes = (source =~ /(?m)^ {4}\w+ = (\d+),$/).collect { it[1] as int }
        assert codes == LoadTest.CODES.keySet() as List
        assert LoadTest.CODES.values()*.get(0).unique().size() == codes.size()
    }
}
