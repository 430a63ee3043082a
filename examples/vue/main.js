// A photo's classes in Vue. A model is no data of Vue's: `shallowRef` leaves it as it is.
import { computed, createApp, h, onUnmounted, ref, shallowRef } from 'vue';
import { Xception } from 'xception-webgpu';

const App = {
  setup() {
    const model = shallowRef();
    const predictions = ref([]);
    const problem = ref('');
    const ended = new AbortController();
    const fail = ({ code, message }) => {
      if (code !== 'aborted') problem.value = message;
    };
    Xception.load({ weights: '/models/kitchenware.safetensors', signal: ended.signal }).then((loaded) => (model.value = loaded), fail);
    onUnmounted(() => {
      ended.abort();
      model.value?.dispose();
    });
    const look = async ({ target }) => {
      try {
        predictions.value = (await model.value.classify(target.files[0], { topK: 3 })).predictions;
      } catch (error) {
        fail(error);
      }
    };
    const answer = computed(() => problem.value || predictions.value.map(({ label }) => label).join(', ') || (model.value ? 'Choose a photo.' : 'Loading…'));
    return () => [h('input', { type: 'file', accept: 'image/*', disabled: !model.value, onChange: look }), h('p', { id: 'answer' }, answer.value)];
  },
};

createApp(App).mount('#root');
