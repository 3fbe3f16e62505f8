package atq
class LoadTest implements Serializable { }
