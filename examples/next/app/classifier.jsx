'use client';

// Rendered on the server too, where the hooks load nothing.
import { useState } from 'react';
import { useClassification, useXception } from 'xception-webgpu/react';

export function Classifier({ weights }) {
  const { model, error, progress } = useXception({ weights });
  const [photo, setPhoto] = useState();
  const { predictions, error: bad } = useClassification(model, photo);
  const status = model ? `${model.info.backend}, ${model.info.adapter}` : `Loading, ${progress?.loaded ?? 0} bytes`;
  return (
    <>
      <input type="file" accept="image/*" disabled={!model} onChange={({ target }) => setPhoto(target.files[0])} />
      <p id="status">{(error ?? bad)?.message ?? status}</p>
      <ol>
        {predictions?.map(({ label, score }) => (
          <li key={label}>
            {label} {(100 * score).toFixed(1)} %
          </li>
        ))}
      </ol>
    </>
  );
}
